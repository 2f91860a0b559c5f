//! Filters over text.

use std::sync::Arc;

use super::super::calls::{whole, Arguments};
use super::super::error::{fail, Result};
use super::super::eval::Interpreter;
use super::super::format::percent;
use super::super::methods;
use super::super::ops;
use super::super::print;
use super::super::text::{byte_of_char, count_chars, Origin, Text};
use super::super::value::{Dict, Number, Value};
use super::Getter;

/// The input as text, with its work paid for.
fn input(interpreter: &mut Interpreter, value: &Value) -> Result<Arc<Text>> {
    let text = print::to_text(interpreter, value)?;
    interpreter.meter.reserve(text.len() / 4)?;
    Ok(text)
}

pub fn upper(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    args.expect_none("upper")?;
    Ok(methods::upper(&*input(interpreter, &value)?))
}

pub fn lower(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    args.expect_none("lower")?;
    Ok(methods::lower(&*input(interpreter, &value)?))
}

pub fn capitalize(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    args.expect_none("capitalize")?;
    Ok(methods::capitalize(&*input(interpreter, &value)?))
}

pub fn title(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    args.expect_none("title")?;
    Ok(methods::title_words(&*input(interpreter, &value)?))
}

pub fn trim(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    let [chars] = args.bind("trim", ["chars"])?;
    methods::strip(&input(interpreter, &value)?, chars.as_ref(), true, true)
}

pub fn center(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    let [width] = args.bind("center", ["width"])?;
    let width = width.unwrap_or_else(|| Value::int(80));
    let text = Value::Str(input(interpreter, &value)?);
    let args = Arguments { positional: vec![width], named: Vec::new() };
    methods::call(interpreter, &text, "center", args)
}

pub fn replace(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    let [old, new, count] = args.bind("replace", ["old", "new", "count"])?;
    let (Some(old), Some(new)) = (old, new) else { fail!("replace() wants old and new text") };
    let text = input(interpreter, &value)?;
    let (old, new) = (print::to_text(interpreter, &old)?, print::to_text(interpreter, &new)?);
    let count = count.filter(|count| !matches!(count, Value::None));
    let count = ops::limit(count.as_ref(), "replace()'s count")?;
    methods::replace(interpreter, &text, &old, &new, count)
}

pub fn join(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    let [separator, attribute] = args.bind("join", ["d", "attribute"])?;
    let getter = Getter::new(attribute.as_ref(), None);
    let mut parts = Vec::new();
    for item in value.items()?.iter() {
        interpreter.meter.work(1)?;
        let item = getter.get(interpreter, item)?;
        parts.push(Value::Str(print::to_text(interpreter, &item)?));
    }
    let separator = match separator {
        Some(separator) => print::to_text(interpreter, &separator)?,
        None => Arc::default(),
    };
    methods::join(interpreter, &separator, &parts)
}

pub fn indent(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    let [width, first, blank] = args.bind("indent", ["width", "first", "blank"])?;
    let Value::Str(text) = &value else {
        fail!("indent() takes a string, not {}", value.type_name());
    };
    let indentation = match width {
        Some(Value::Str(text)) => text,
        width => {
            let width = width.map_or(Ok(4), |width| whole(&width, "indent()'s width"))?;
            let width = usize::try_from(width.max(0)).unwrap_or(usize::MAX);
            interpreter.meter.reserve(width)?;
            let mut spaces = Text::new();
            spaces.push_repeated(' ', width, Origin::Template);
            Arc::new(spaces)
        }
    };
    let truth = |value: Option<Value>| value.is_some_and(|value| value.truth());
    let (first, blank) = (truth(first), truth(blank));
    // As Jinja2 does it, with a newline more at the end, so that an empty last line counts.
    let mut whole_text = Text::clone(text);
    whole_text.push("\n", Origin::Template);
    let lines = methods::lines(whole_text.as_str(), false);
    let added = lines.len().saturating_mul(indentation.len() + 1);
    interpreter.meter.reserve(text.len().saturating_add(added))?;
    let mut out = Text::new();
    for (i, line) in lines.into_iter().enumerate() {
        if i > 0 {
            out.push("\n", Origin::Template);
        }
        let wanted = if i == 0 { first } else { blank || !line.is_empty() };
        if wanted {
            out.push_text(&indentation);
        }
        out.push_slice(&whole_text, line);
    }
    Ok(Value::text(out))
}

pub fn format(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    if !args.positional.is_empty() && !args.named.is_empty() {
        fail!("can't handle positional and keyword arguments at the same time");
    }
    let template = input(interpreter, &value)?;
    let values = if args.named.is_empty() {
        Value::tuple(args.positional)?
    } else {
        let named = args.named.into_iter().map(|(name, value)| (Value::own(&*name), value));
        Dict::from_entries(named)?
    };
    Ok(Value::text(percent(interpreter, &template, &values)?))
}

pub fn escape(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    args.expect_none("escape")?;
    let text = input(interpreter, &value)?;
    let mut out = Text::new();
    for (c, origin) in text.chars() {
        match c {
            '&' => out.push("&amp;", origin),
            '<' => out.push("&lt;", origin),
            '>' => out.push("&gt;", origin),
            '\'' => out.push("&#39;", origin),
            '"' => out.push("&#34;", origin),
            c => out.push_char(c, origin),
        }
    }
    Ok(Value::text(out))
}

pub fn striptags(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    args.expect_none("striptags")?;
    let text = input(interpreter, &value)?;
    let mut kept = Text::new();
    let mut from = 0;
    while let Some(open) = text.as_str()[from..].find('<') {
        let start = from + open;
        let comment = text.as_str()[start..].starts_with("<!--");
        let close = if comment { "-->" } else { ">" };
        let Some(size) = text.as_str()[start..].find(close) else { break };
        kept.push_slice(&text, from..start);
        from = start + size + close.len();
    }
    kept.push_slice(&text, from..text.len());
    let words = Value::text(kept);
    let split = Arguments { positional: Vec::new(), named: Vec::new() };
    let words = methods::call(interpreter, &words, "split", split)?.items()?;
    methods::join(interpreter, &Text::of(" ", Origin::Template), &words)
}

pub fn truncate(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    let names = ["length", "killwords", "end", "leeway"];
    let [length, killwords, end, leeway] = args.bind("truncate", names)?;
    let size = |value: Option<Value>, default: usize| -> Result<usize> {
        match value {
            None | Some(Value::None) => Ok(default),
            Some(value) => Ok(usize::try_from(whole(&value, "truncate()'s length")?).unwrap_or(0)),
        }
    };
    let (length, leeway) = (size(length, 255)?, size(leeway, 5)?);
    let end = match end {
        Some(end) => print::to_text(interpreter, &end)?,
        None => Arc::new(Text::of("...", Origin::Template)),
    };
    let end_length = count_chars(end.as_str());
    if length < end_length {
        fail!("truncate(): expected length >= {end_length}, got {length}");
    }
    if value.len()? <= length.saturating_add(leeway) {
        return Ok(value);
    }
    let Value::Str(text) = &value else {
        fail!("truncate() takes a string, not {}", value.type_name());
    };
    interpreter.meter.reserve(text.len())?;
    let mut kept = byte_of_char(text.as_str(), length - end_length);
    if !killwords.is_some_and(|kill| kill.truth()) {
        kept = text.as_str()[..kept].rfind(' ').unwrap_or(kept);
    }
    let mut out = text.slice(0..kept);
    out.push_text(&end);
    Ok(Value::text(out))
}

pub fn wordcount(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    args.expect_none("wordcount")?;
    let text = input(interpreter, &value)?;
    let words = text.as_str().split(|c: char| c != '_' && !c.is_alphanumeric());
    Ok(Value::int(words.filter(|word| !word.is_empty()).count() as i128))
}

pub fn urlencode(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    args.expect_none("urlencode")?;
    if let Value::Str(_) | Value::Int(..) | Value::Float(..) | Value::Bool(_) | Value::None = value
    {
        let text = input(interpreter, &value)?;
        let mut out = Text::new();
        quote(&text, "/", &mut out);
        return Ok(Value::text(out));
    }
    let entries = match &value {
        Value::Dict(dict) => super::pairs(dict)?,
        _ => value.items()?.to_vec(),
    };
    let mut out = Text::new();
    for (i, entry) in entries.iter().enumerate() {
        let pair = entry.items()?;
        let [key, value] = &pair[..] else { fail!("urlencode() wants pairs") };
        out.push(if i > 0 { "&" } else { "" }, Origin::Template);
        let key = input(interpreter, key)?;
        quote(&key, " ", &mut out);
        out.push("=", Origin::Template);
        let value = input(interpreter, value)?;
        quote(&value, " ", &mut out);
    }
    Ok(Value::text(out))
}

fn quote(text: &Text, safe: &str, out: &mut Text) {
    for (run, origin) in text.runs() {
        for byte in run.bytes() {
            let c = char::from(byte);
            if c == ' ' && safe == " " {
                // In a query, a space is a plus.
                out.push_char('+', origin);
            } else if c.is_ascii_alphanumeric() || "_.-~".contains(c) || safe.contains(c) {
                out.push_char(c, origin);
            } else {
                out.push(&format!("%{byte:02X}"), origin);
            }
        }
    }
}

/// The number that a text writes, as Python's float() reads it.
pub fn parse_float(text: &str) -> Option<f64> {
    let text = text.trim_matches(super::super::text::is_space);
    let digits = ungroup(text)?;
    let word = digits.trim_start_matches(['+', '-']).to_ascii_lowercase();
    let named = matches!(word.as_str(), "inf" | "infinity" | "nan");
    if !named && !word.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    digits.parse().ok()
}

/// As Python's int() reads it.
pub fn parse_int(text: &str, base: u32) -> Option<i128> {
    let text = text.trim_matches(super::super::text::is_space);
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let lower = digits.to_ascii_lowercase();
    let prefixes = [("0x", 16), ("0o", 8), ("0b", 2)];
    let prefix = prefixes.iter().find(|(p, b)| lower.starts_with(p) && (base == *b || base == 0));
    let (digits, base) = match prefix {
        Some((p, b)) => (lower[p.len()..].trim_start_matches('_').to_string(), *b),
        None => (lower, if base == 0 { 10 } else { base }),
    };
    let value = i128::from_str_radix(&ungroup(&digits)?, base).ok()?;
    Some(if negative { -value } else { value })
}

/// Digits without the underscores between them; None where one stands elsewhere.
fn ungroup(text: &str) -> Option<String> {
    let wrong = text.starts_with('_') || text.ends_with('_') || text.contains("__");
    (!wrong).then(|| text.replace('_', ""))
}

/// A value in arithmetic, text included.
pub fn number(value: &Value) -> Option<Number> {
    match value {
        Value::Str(text) => parse_float(text.as_str()).map(Number::Float),
        _ => Number::of(value),
    }
}
