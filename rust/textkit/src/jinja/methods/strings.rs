//! Methods of str. Whatever they cut out or put together keeps its origins.

use std::ops::Range;
use std::sync::Arc;

use super::super::calls::{whole, Arguments};
use super::super::error::{fail, Result};
use super::super::eval::Interpreter;
use super::super::format;
use super::super::members::slice_text;
use super::super::ops;
use super::super::text::{count_chars, is_space, Origin, Text};
use super::super::value::Value;
use super::case::{capitalize, casefold, classify, lower, swapcase, title, upper};
use super::split::{lines, split, split_spaces};

pub fn call(
    interpreter: &mut Interpreter,
    text: &Arc<Text>,
    name: &str,
    args: Arguments,
) -> Result<Value> {
    let keywords = ["split", "rsplit", "splitlines", "format", "expandtabs"];
    if let (Some((keyword, _)), false) = (args.named.first(), keywords.contains(&name)) {
        fail!("str.{name}() takes no keyword arguments ('{keyword}')");
    }
    interpreter.meter.reserve(text.len() / 4)?;
    let source = text.as_str();
    match name {
        "upper" => args.expect_none(name).map(|()| upper(text)),
        "lower" => args.expect_none(name).map(|()| lower(text)),
        "casefold" => args.expect_none(name).map(|()| casefold(text)),
        "capitalize" => args.expect_none(name).map(|()| capitalize(text)),
        "title" => args.expect_none(name).map(|()| title(text)),
        "swapcase" => args.expect_none(name).map(|()| swapcase(text)),
        "strip" | "lstrip" | "rstrip" => {
            let [chars] = args.bind(name, ["chars"])?;
            strip(text, chars.as_ref(), name != "rstrip", name != "lstrip")
        }
        "removeprefix" => {
            let prefix = string(&args.single(name, "prefix")?, name)?;
            let start = if source.starts_with(prefix.as_str()) { prefix.len() } else { 0 };
            Ok(cut(text, start..text.len()))
        }
        "removesuffix" => {
            let suffix = string(&args.single(name, "suffix")?, name)?;
            let ends = source.ends_with(suffix.as_str());
            Ok(cut(text, 0..text.len() - if ends { suffix.len() } else { 0 }))
        }
        "startswith" | "endswith" => affix(interpreter, text, name, args),
        "find" | "index" | "rfind" | "rindex" | "count" => search(interpreter, text, name, args),
        "replace" => {
            let [old, new, count] = args.bind(name, ["old", "new", "count"])?;
            let (Some(old), Some(new)) = (old, new) else { fail!("replace() wants two strings") };
            let (old, new) = (string(&old, name)?, string(&new, name)?);
            replace(interpreter, text, &old, &new, ops::limit(count.as_ref(), "replace()'s count")?)
        }
        "split" | "rsplit" => {
            let [separator, limit] = args.bind(name, ["sep", "maxsplit"])?;
            let limit = ops::limit(limit.as_ref(), "maxsplit")?;
            let parts = match separator {
                None | Some(Value::None) => split_spaces(source, limit, name == "rsplit"),
                Some(separator) => {
                    let separator = string(&separator, name)?;
                    if separator.is_empty() {
                        fail!("empty separator");
                    }
                    split(source, separator.as_str(), limit, name == "rsplit")
                }
            };
            interpreter.meter.reserve(parts.len() * 64)?;
            Value::list(parts.into_iter().map(|range| cut(text, range)).collect())
        }
        "splitlines" => {
            let [keep] = args.bind(name, ["keepends"])?;
            let lines = lines(source, keep.is_some_and(|keep| keep.truth()));
            interpreter.meter.reserve(lines.len() * 64)?;
            Value::list(lines.into_iter().map(|range| cut(text, range)).collect())
        }
        "partition" | "rpartition" => {
            let separator = string(&args.single(name, "sep")?, name)?;
            if separator.is_empty() {
                fail!("empty separator");
            }
            partition(text, separator.as_str(), name == "rpartition")
        }
        "join" => {
            let items = args.single(name, "iterable")?.items()?;
            for item in items.iter() {
                if item.as_str().is_none() {
                    fail!("join() takes strings, not {}", item.type_name());
                }
            }
            join(interpreter, text, &items)
        }
        "center" | "ljust" | "rjust" | "zfill" => pad(interpreter, text, name, args),
        "expandtabs" => expand_tabs(interpreter, text, args),
        "format" => Ok(Value::text(format::braces(interpreter, text, &args)?)),
        "format_map" => {
            let Value::Dict(dict) = args.single(name, "mapping")? else {
                fail!("format_map() takes a mapping");
            };
            let named = dict
                .entries()
                .iter()
                .filter_map(|(key, value)| Some((key.as_str()?.into(), value.clone())));
            let args = Arguments { positional: Vec::new(), named: named.collect() };
            Ok(Value::text(format::braces(interpreter, text, &args)?))
        }
        _ => args.expect_none(name).map(|()| Value::Bool(classify(source, name))),
    }
}

fn string(value: &Value, method: &str) -> Result<Arc<Text>> {
    match value {
        Value::Str(text) => Ok(Arc::clone(text)),
        _ => fail!("str.{method}() takes a string, not {}", value.type_name()),
    }
}

fn cut(text: &Arc<Text>, range: Range<usize>) -> Value {
    if range.len() == text.len() {
        return Value::Str(Arc::clone(text));
    }
    Value::text(text.slice(range))
}

pub fn strip(text: &Arc<Text>, chars: Option<&Value>, left: bool, right: bool) -> Result<Value> {
    let set: Option<Arc<Text>> = match chars {
        None | Some(Value::None) => None,
        Some(chars) => Some(string(chars, "strip")?),
    };
    let strips = |c: char| set.as_ref().map_or_else(|| is_space(c), |s| s.as_str().contains(c));
    let source = text.as_str();
    let after = if left { source.trim_start_matches(strips) } else { source };
    let start = source.len() - after.len();
    let kept = if right { after.trim_end_matches(strips) } else { after };
    Ok(cut(text, start..start + kept.len()))
}

/// The part of `text` that the optional bounds of find, count and startswith name: its first byte
/// and its first character, and the part; None where the start lies behind the end.
fn window(
    interpreter: &mut Interpreter,
    text: &Arc<Text>,
    start: Option<Value>,
    end: Option<Value>,
) -> Result<Option<(usize, Arc<Text>)>> {
    if start.is_none() && end.is_none() {
        return Ok(Some((0, Arc::clone(text))));
    }
    let len = count_chars(text.as_str()) as i128;
    let first = match &start {
        None | Some(Value::None) => 0,
        Some(start) => whole(start, "start")?,
    };
    let first = if first < 0 { first.saturating_add(len).max(0) } else { first };
    let end = end.unwrap_or(Value::None);
    let last = match &end {
        Value::None => len,
        end => whole(end, "end")?,
    };
    let last = if last < 0 { last.saturating_add(len).max(0) } else { last.min(len) };
    if first > last {
        return Ok(None);
    }
    let bounds = [Value::int(first), Value::int(last), Value::None];
    match slice_text(interpreter, text, &bounds)? {
        Value::Str(part) => Ok(Some((first as usize, part))),
        other => fail!("a slice of a string is a {}", other.type_name()),
    }
}

fn affix(
    interpreter: &mut Interpreter,
    text: &Arc<Text>,
    name: &str,
    args: Arguments,
) -> Result<Value> {
    let [affix, start, end] = args.bind(name, ["prefix", "start", "end"])?;
    let affixes: Vec<Arc<Text>> = match affix {
        Some(Value::Tuple(items)) => {
            items.iter().map(|item| string(item, name)).collect::<Result<_>>()?
        }
        Some(affix) => vec![string(&affix, name)?],
        None => fail!("{name}() takes a string"),
    };
    let Some((_, part)) = window(interpreter, text, start, end)? else {
        return Ok(Value::Bool(false));
    };
    let matches = |affix: &Arc<Text>| match name {
        "startswith" => part.as_str().starts_with(affix.as_str()),
        _ => part.as_str().ends_with(affix.as_str()),
    };
    Ok(Value::Bool(affixes.iter().any(matches)))
}

fn search(
    interpreter: &mut Interpreter,
    text: &Arc<Text>,
    name: &str,
    args: Arguments,
) -> Result<Value> {
    let [part, start, end] = args.bind(name, ["sub", "start", "end"])?;
    let Some(part) = part else { fail!("{name}() takes a string") };
    let part = string(&part, name)?;
    let window = window(interpreter, text, start, end)?;
    if name == "count" {
        let count = window.map_or(0, |(_, text)| match part.as_str() {
            "" => count_chars(text.as_str()) + 1,
            part => text.as_str().matches(part).count(),
        });
        return Ok(Value::int(count as i128));
    }
    let found = window.and_then(|(first, text)| {
        let at = match name {
            "find" | "index" => text.as_str().find(part.as_str()),
            _ => text.as_str().rfind(part.as_str()),
        };
        at.map(|at| first + count_chars(&text.as_str()[..at]))
    });
    match found {
        Some(at) => Ok(Value::int(at as i128)),
        None if name.ends_with("find") => Ok(Value::int(-1)),
        None => fail!("substring not found"),
    }
}

pub fn replace(
    interpreter: &mut Interpreter,
    text: &Arc<Text>,
    old: &Text,
    new: &Text,
    count: usize,
) -> Result<Value> {
    let source = text.as_str();
    let found: Vec<Range<usize>> = if old.is_empty() {
        let starts = source.char_indices().map(|(at, _)| at).chain([source.len()]);
        starts.take(count).map(|at| at..at).collect()
    } else {
        let matches = source.match_indices(old.as_str()).take(count);
        matches.map(|(at, part)| at..at + part.len()).collect()
    };
    if found.is_empty() {
        return Ok(Value::Str(Arc::clone(text)));
    }
    interpreter.meter.reserve(source.len() + found.len().saturating_mul(new.len() + 16))?;
    let mut out = Text::new();
    let mut from = 0;
    for range in found {
        out.push_slice(text, from..range.start);
        out.push_text(new);
        from = range.end;
    }
    out.push_slice(text, from..text.len());
    Ok(Value::text(out))
}

fn partition(text: &Arc<Text>, separator: &str, from_right: bool) -> Result<Value> {
    let source = text.as_str();
    let found = if from_right { source.rfind(separator) } else { source.find(separator) };
    let (first, second) = match found {
        Some(at) => (at, at + separator.len()),
        None if from_right => (0, 0),
        None => (text.len(), text.len()),
    };
    Value::tuple(vec![cut(text, 0..first), cut(text, first..second), cut(text, second..text.len())])
}

/// The items' texts (they are strings) with `separator` between them.
pub fn join(interpreter: &mut Interpreter, separator: &Text, items: &[Value]) -> Result<Value> {
    let parts = || {
        items.iter().filter_map(|item| match item {
            Value::Str(text) => Some(text),
            _ => None,
        })
    };
    let between = separator.len().saturating_mul(items.len().saturating_sub(1));
    let total = parts().fold(between, |sum, text| sum.saturating_add(text.len()));
    interpreter.meter.reserve(total)?;
    let mut out = Text::new();
    for (i, part) in parts().enumerate() {
        if i > 0 {
            out.push_text(separator);
        }
        out.push_text(part);
    }
    Ok(Value::text(out))
}

fn pad(
    interpreter: &mut Interpreter,
    text: &Arc<Text>,
    name: &str,
    args: Arguments,
) -> Result<Value> {
    let [width, fill] = args.bind(name, ["width", "fillchar"])?;
    let Some(width) = width else { fail!("{name}() takes a width") };
    let width = usize::try_from(whole(&width, "width")?.max(0)).unwrap_or(usize::MAX);
    let (fill, origin) = match fill {
        None if name == "zfill" => ('0', Origin::Template),
        None => (' ', Origin::Template),
        Some(_) if name == "zfill" => fail!("zfill() takes one argument"),
        Some(fill) => {
            let fill = string(&fill, name)?;
            let mut chars = fill.as_str().chars();
            match (chars.next(), chars.next()) {
                (Some(c), None) => (c, fill.origin()),
                _ => fail!("the fill character must be exactly one character long"),
            }
        }
    };
    let length = count_chars(text.as_str());
    let missing = width.saturating_sub(length);
    if missing == 0 {
        return Ok(Value::Str(Arc::clone(text)));
    }
    interpreter.meter.reserve(missing.saturating_mul(4).saturating_add(text.len()))?;
    let left = match name {
        "ljust" => 0,
        "rjust" | "zfill" => missing,
        // CPython's rounding.
        _ => missing / 2 + (missing & width & 1),
    };
    let sign = usize::from(name == "zfill" && text.as_str().starts_with(['+', '-']));
    let mut out = Text::new();
    out.push_slice(text, 0..sign);
    out.push_repeated(fill, left, origin);
    out.push_slice(text, sign..text.len());
    out.push_repeated(fill, missing - left, origin);
    Ok(Value::text(out))
}

fn expand_tabs(interpreter: &mut Interpreter, text: &Arc<Text>, args: Arguments) -> Result<Value> {
    let [size] = args.bind("expandtabs", ["tabsize"])?;
    let size = size.map_or(Ok(8), |size| whole(&size, "tabsize"))?;
    let size = usize::try_from(size.max(0)).unwrap_or(usize::MAX);
    let tabs = text.as_str().matches('\t').count();
    interpreter.meter.reserve(text.len().saturating_add(tabs.saturating_mul(size)))?;
    let mut out = Text::new();
    let mut column = 0;
    for (c, origin) in text.chars() {
        match c {
            '\t' if size > 0 => {
                let spaces = size - column % size;
                out.push_repeated(' ', spaces, origin);
                column += spaces;
            }
            '\t' => {}
            c => {
                column = if matches!(c, '\n' | '\r') { 0 } else { column + 1 };
                out.push_char(c, origin);
            }
        }
    }
    Ok(Value::text(out))
}
