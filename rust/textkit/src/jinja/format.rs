//! Python's two ways to put values into text: `'%s' % x` and `'{}'.format(x)`.

use std::sync::Arc;

use super::calls::{undefined_error, Arguments};
use super::error::{fail, Result};
use super::eval::Interpreter;
use super::members::{get_attribute, get_item};
use super::print;
use super::text::{byte_of_char, count_chars, Origin, Text};
use super::value::{Number, Value};

/// How a value is laid out: the part of both mini-languages that templates use.
#[derive(Default)]
struct Spec {
    fill: Option<char>,
    align: Option<char>,
    sign: Option<char>,
    alternate: bool,
    zero: bool,
    width: usize,
    group: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

pub fn percent(interpreter: &mut Interpreter, template: &Text, args: &Value) -> Result<Text> {
    let mut out = Text::new();
    let source = template.as_str();
    let values: &[Value] = match args {
        Value::Tuple(items) => items,
        single => std::slice::from_ref(single),
    };
    let mut used = 0;
    let mut by_name = false;
    let mut from = 0;
    while let Some(found) = source[from..].find('%') {
        let start = from + found;
        out.push_slice(template, from..start);
        let mut rest = source[start + 1..].chars();
        let mut name = None;
        if rest.as_str().starts_with('(') {
            let Some(end) = rest.as_str().find(')') else { fail!("incomplete format key") };
            name = Some(&rest.as_str()[1..end]);
            rest = rest.as_str()[end + 1..].chars();
        }
        let mut next = || match values.get(used) {
            Some(value) => {
                used += 1;
                Ok(value.clone())
            }
            None => fail!("not enough arguments for format string"),
        };
        let mut spec = Spec::default();
        let mut conversion = rest.next();
        while let Some(flag) = conversion.filter(|c| matches!(c, '-' | '+' | ' ' | '#' | '0')) {
            match flag {
                '-' => spec.align = Some('<'),
                '#' => spec.alternate = true,
                '0' => spec.zero = true,
                sign => spec.sign = Some(if spec.sign == Some('+') { '+' } else { sign }),
            }
            conversion = rest.next();
        }
        let mut size = |conversion: &mut Option<char>| -> Result<Option<usize>> {
            if *conversion == Some('*') {
                *conversion = rest.next();
                return match next()? {
                    Value::Int(n, _) => Ok(usize::try_from(n).ok()),
                    other => fail!("* wants int, not {}", other.type_name()),
                };
            }
            let mut size: Option<usize> = None;
            while let Some(digit) = conversion.and_then(|c| c.to_digit(10)) {
                size = Some(size.unwrap_or(0).saturating_mul(10).saturating_add(digit as usize));
                *conversion = rest.next();
            }
            Ok(size)
        };
        spec.width = size(&mut conversion)?.unwrap_or(0);
        if conversion == Some('.') {
            conversion = Some('0');
            // A point alone means no digits.
            spec.precision = Some(size(&mut conversion)?.unwrap_or(0));
        }
        while matches!(conversion, Some('l' | 'h' | 'L')) {
            conversion = rest.next();
        }
        let Some(conversion) = conversion else { fail!("incomplete format") };
        from = source.len() - rest.as_str().len();
        if conversion == '%' {
            out.push_char('%', Origin::Template);
            continue;
        }
        let value = match name {
            Some(name) => {
                by_name = true;
                match args {
                    Value::Dict(dict) => match dict.get_text(name) {
                        Some(value) => value.clone(),
                        None => fail!("the format's key '{name}' is not in the mapping"),
                    },
                    _ => fail!("format requires a mapping"),
                }
            }
            None => next()?,
        };
        percent_one(interpreter, &mut out, spec, conversion, &value)?;
    }
    out.push_slice(template, from..template.len());
    // What can be asked for items by key need not be used up.
    use Value::{Dict, List, Range, Undefined};
    let mapping = matches!(args, Dict(_) | List(_) | Range(_) | Undefined(_));
    if used < values.len() && !by_name && !mapping {
        fail!("not all arguments converted during string formatting");
    }
    Ok(out)
}

fn percent_one(
    interpreter: &mut Interpreter,
    out: &mut Text,
    mut spec: Spec,
    conversion: char,
    value: &Value,
) -> Result<()> {
    let text = match conversion {
        's' => print::to_text(interpreter, value)?,
        'r' | 'a' => {
            let mut text = Text::new();
            print::write_repr(interpreter, value, &mut text)?;
            Arc::new(text)
        }
        'c' => match value {
            Value::Str(text) if count_chars(text.as_str()) == 1 => Arc::clone(text),
            Value::Int(n, origin) => match u32::try_from(*n).ok().and_then(char::from_u32) {
                Some(c) => Arc::new(Text::of(c, *origin)),
                None => fail!("%c arg not in range"),
            },
            _ => fail!("%c requires int or char"),
        },
        'd' | 'i' | 'u' | 'o' | 'x' | 'X' | 'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
            let number = match (value, Number::of(value)) {
                (Value::Undefined(name), _) => return Err(undefined_error(name)),
                (_, Some(number)) => number,
                _ => fail!("%{conversion} format: a number is required, not {}", value.type_name()),
            };
            spec.kind = Some(if matches!(conversion, 'i' | 'u') { 'd' } else { conversion });
            let number = match (number, conversion) {
                (Number::Float(x), 'd' | 'i' | 'u') if x.is_finite() => {
                    Number::Int(x.trunc() as i128)
                }
                (Number::Float(_), 'd' | 'i' | 'u' | 'o' | 'x' | 'X') => {
                    fail!("%{conversion} format: an integer is required, not float")
                }
                _ => number,
            };
            let digits = number_text(interpreter, &spec, number)?;
            return pad_number(interpreter, out, &spec, &digits, value.origin());
        }
        other => fail!("unsupported format character '{other}'"),
    };
    pad_text(interpreter, out, &spec, &text, '>')
}

/// At most `precision` characters, in a field of `width`.
fn pad_text(
    interpreter: &mut Interpreter,
    out: &mut Text,
    spec: &Spec,
    text: &Text,
    default_align: char,
) -> Result<()> {
    let end = spec.precision.map_or(text.len(), |most| byte_of_char(text.as_str(), most));
    let length = count_chars(&text.as_str()[..end]);
    let missing = spec.width.saturating_sub(length);
    interpreter.meter.reserve(missing.saturating_mul(4).saturating_add(end))?;
    let left = match spec.align.unwrap_or(default_align) {
        '<' => 0,
        '^' => missing / 2,
        _ => missing,
    };
    let fill = spec.fill.unwrap_or(' ');
    out.push_repeated(fill, left, Origin::Template);
    out.push_slice(text, 0..end);
    out.push_repeated(fill, missing - left, Origin::Template);
    interpreter.meter.check_output(out.len())
}

fn pad_number(
    interpreter: &mut Interpreter,
    out: &mut Text,
    spec: &Spec,
    digits: &str,
    origin: Origin,
) -> Result<()> {
    let missing = spec.width.saturating_sub(digits.chars().count());
    let between_sign_and_digits = spec.align == Some('=') || spec.zero && spec.align.is_none();
    if between_sign_and_digits && !digits.ends_with(['f', 'n']) {
        interpreter.meter.reserve(missing.saturating_add(digits.len()))?;
        let after_sign = usize::from(digits.starts_with(['+', '-', ' ']));
        let based =
            digits[after_sign..].starts_with("0x") || digits[after_sign..].starts_with("0o");
        let split = after_sign + if based { 2 } else { 0 };
        out.push(&digits[..split], origin);
        out.push_repeated(spec.fill.unwrap_or('0'), missing, Origin::Template);
        out.push(&digits[split..], origin);
        return interpreter.meter.check_output(out.len());
    }
    let spec = Spec {
        precision: None,
        fill: spec.fill,
        align: spec.align,
        width: spec.width,
        ..Spec::default()
    };
    pad_text(interpreter, out, &spec, &Text::of(digits, origin), '>')
}

fn number_text(interpreter: &mut Interpreter, spec: &Spec, number: Number) -> Result<String> {
    let precision = spec.precision.unwrap_or(6);
    if precision > 1000 {
        fail!("a precision of {precision} digits is too large");
    }
    interpreter.meter.work(4)?;
    let kind = spec.kind.unwrap_or('d');
    let (negative, digits) = match (kind, number) {
        ('d', Number::Int(n)) => (n < 0, n.unsigned_abs().to_string()),
        ('x', Number::Int(n)) => {
            let prefix = if spec.alternate { "0x" } else { "" };
            (n < 0, format!("{prefix}{:x}", n.unsigned_abs()))
        }
        ('X', Number::Int(n)) => {
            let prefix = if spec.alternate { "0X" } else { "" };
            (n < 0, format!("{prefix}{:X}", n.unsigned_abs()))
        }
        ('o', Number::Int(n)) => {
            let prefix = if spec.alternate { "0o" } else { "" };
            (n < 0, format!("{prefix}{:o}", n.unsigned_abs()))
        }
        ('b', Number::Int(n)) => {
            let prefix = if spec.alternate { "0b" } else { "" };
            (n < 0, format!("{prefix}{:b}", n.unsigned_abs()))
        }
        (kind, number) => {
            let x = number.as_f64();
            let upper = kind.is_uppercase();
            let text = match kind.to_ascii_lowercase() {
                _ if !x.is_finite() => print::float(x.abs()),
                'e' => exponent(x.abs(), precision),
                'f' => format!("{:.precision$}", x.abs()),
                '%' => format!("{:.precision$}%", x.abs() * 100.0),
                'g' => general(x.abs(), precision.max(1), spec.alternate),
                'n' | 's' => print::float(x.abs()),
                other => fail!("unknown format code '{other}' for a number"),
            };
            (x.is_sign_negative() && !x.is_nan(), if upper { text.to_uppercase() } else { text })
        }
    };
    let digits = match spec.group {
        Some(mark) => grouped(&digits, mark),
        None => digits,
    };
    let sign = if negative {
        "-"
    } else {
        match spec.sign {
            Some('+') => "+",
            Some(' ') => " ",
            _ => "",
        }
    };
    Ok(format!("{sign}{digits}"))
}

fn grouped(digits: &str, mark: char) -> String {
    let whole = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let mut out = String::new();
    for (i, c) in digits[..whole].chars().enumerate() {
        if i > 0 && (whole - i) % 3 == 0 {
            out.push(mark);
        }
        out.push(c);
    }
    out + &digits[whole..]
}

fn exponent(x: f64, precision: usize) -> String {
    let text = format!("{x:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

fn general(x: f64, precision: usize, keep_zeros: bool) -> String {
    let scientific = exponent(x, precision - 1);
    let power: i32 = scientific.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0);
    let trim = |text: &str| {
        if keep_zeros || !text.contains('.') {
            text.to_string()
        } else {
            text.trim_end_matches('0').trim_end_matches('.').to_string()
        }
    };
    if (-4..precision as i32).contains(&power) {
        let places = (precision as i32 - 1 - power).max(0) as usize;
        return trim(&format!("{x:.places$}"));
    }
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "+00"));
    format!("{}e{exponent}", trim(digits))
}

/// str.format
pub fn braces(interpreter: &mut Interpreter, template: &Text, args: &Arguments) -> Result<Text> {
    let mut out = Text::new();
    let source = template.as_str();
    let mut from = 0;
    let mut automatic = 0;
    while let Some(found) = source[from..].find(['{', '}']) {
        let start = from + found;
        out.push_slice(template, from..start);
        let rest = &source[start..];
        if rest.starts_with("{{") || rest.starts_with("}}") {
            out.push_slice(template, start..start + 1);
            from = start + 2;
            continue;
        }
        if rest.starts_with('}') {
            fail!("Single '}}' encountered in format string");
        }
        let Some(size) = rest.find('}') else { fail!("expected '}}' before end of string") };
        let field = &rest[1..size];
        from = start + size + 1;
        let (field, spec) = field.split_once(':').unwrap_or((field, ""));
        if spec.contains('{') {
            fail!("nested fields in a format are not supported");
        }
        let (path, conversion) = field.split_once('!').unwrap_or((field, ""));
        let value = field_value(interpreter, path, args, &mut automatic)?;
        brace_one(interpreter, &mut out, &value, conversion, spec)?;
    }
    out.push_slice(template, from..template.len());
    Ok(out)
}

fn field_value(
    interpreter: &mut Interpreter,
    path: &str,
    args: &Arguments,
    automatic: &mut usize,
) -> Result<Value> {
    let head = path.find(['.', '[']).unwrap_or(path.len());
    let (name, mut rest) = path.split_at(head);
    let index = if name.is_empty() {
        *automatic += 1;
        Some(*automatic - 1)
    } else {
        name.parse().ok()
    };
    let found = match index {
        Some(index) => args.positional.get(index),
        None => args.named.iter().find(|(known, _)| &**known == name).map(|(_, value)| value),
    };
    let Some(mut value) = found.cloned() else { fail!("the format names no argument '{name}'") };
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let size = after.find(['.', '[']).unwrap_or(after.len());
            value = get_attribute(interpreter, &value, &after[..size].into())?;
            rest = &after[size..];
        } else {
            let inner = &rest[1..];
            let Some(size) = inner.find(']') else { fail!("Missing ']' in format string") };
            let key = match inner[..size].parse() {
                Ok(index) => Value::int(index),
                Err(_) => Value::own(&inner[..size]),
            };
            value = get_item(interpreter, &value, &key)?;
            rest = &inner[size + 1..];
        }
    }
    Ok(value)
}

fn brace_one(
    interpreter: &mut Interpreter,
    out: &mut Text,
    value: &Value,
    conversion: &str,
    spec: &str,
) -> Result<()> {
    let spec = read_spec(spec)?;
    let mut text = Text::new();
    match conversion {
        "" => match Number::of(value) {
            Some(number) if spec.kind.is_some() || !matches!(value, Value::Bool(_)) => {
                return brace_number(interpreter, out, value, number, spec);
            }
            _ => print::write(interpreter, value, &mut text)?,
        },
        "s" => print::write(interpreter, value, &mut text)?,
        "r" | "a" => print::write_repr(interpreter, value, &mut text)?,
        other => fail!("unknown conversion specifier '{other}'"),
    }
    if let Some(kind) = spec.kind.filter(|kind| *kind != 's') {
        fail!("unknown format code '{kind}' for a {}", value.type_name());
    }
    pad_text(interpreter, out, &spec, &text, '<')
}

fn brace_number(
    interpreter: &mut Interpreter,
    out: &mut Text,
    value: &Value,
    number: Number,
    mut spec: Spec,
) -> Result<()> {
    spec.kind = match (spec.kind, number) {
        (None, Number::Int(_)) => Some('d'),
        (None, Number::Float(_)) if spec.precision.is_some() => Some('g'),
        (None, Number::Float(_)) => Some('n'),
        (Some('d' | 'x' | 'X' | 'o' | 'b'), Number::Float(_)) => {
            fail!("an integer's format code cannot write a float")
        }
        (kind, _) => kind,
    };
    let digits = number_text(interpreter, &spec, number)?;
    pad_number(interpreter, out, &spec, &digits, value.origin())
}

fn read_spec(text: &str) -> Result<Spec> {
    let mut spec = Spec::default();
    let chars: Vec<char> = text.chars().collect();
    let is_align = |at: usize| chars.get(at).is_some_and(|c| matches!(c, '<' | '>' | '^' | '='));
    let mut at = 0;
    if is_align(1) {
        (spec.fill, spec.align) = (Some(chars[0]), Some(chars[1]));
        at = 2;
    } else if is_align(0) {
        spec.align = Some(chars[0]);
        at = 1;
    }
    let take = |at: &mut usize, wanted: &[char]| {
        let found = chars.get(*at).copied().filter(|c| wanted.contains(c));
        *at += usize::from(found.is_some());
        found
    };
    let digits = |at: &mut usize| {
        let mut size: Option<usize> = None;
        while let Some(digit) = chars.get(*at).and_then(|c| c.to_digit(10)) {
            size = Some(size.unwrap_or(0).saturating_mul(10).saturating_add(digit as usize));
            *at += 1;
        }
        size
    };
    spec.sign = take(&mut at, &['+', '-', ' ']);
    spec.alternate = take(&mut at, &['#']).is_some();
    spec.zero = take(&mut at, &['0']).is_some();
    spec.width = digits(&mut at).unwrap_or(0);
    spec.group = take(&mut at, &[',', '_']);
    if take(&mut at, &['.']).is_some() {
        spec.precision = digits(&mut at);
        if spec.precision.is_none() {
            fail!("Format specifier missing precision");
        }
    }
    spec.kind = chars.get(at).copied();
    if at + 1 < chars.len() {
        fail!("Invalid format specifier '{text}'");
    }
    Ok(spec)
}
