//! Python's str() and repr().

use std::sync::Arc;

use super::error::{fail, Result};
use super::eval::Interpreter;
use super::text::{Origin, Text};
use super::value::{Value, View};

/// str(value), as `{{ value }}` writes it.
pub fn write(interpreter: &mut Interpreter, value: &Value, out: &mut Text) -> Result<()> {
    match value {
        Value::Undefined(_) => Ok(()),
        Value::Str(text) => {
            interpreter.meter.work(text.len() / 64)?;
            out.push_text(text);
            interpreter.meter.check_output(out.len())
        }
        _ => write_repr(interpreter, value, out),
    }
}

pub fn to_text(interpreter: &mut Interpreter, value: &Value) -> Result<Arc<Text>> {
    if let Value::Str(text) = value {
        return Ok(Arc::clone(text));
    }
    let mut out = Text::new();
    write(interpreter, value, &mut out)?;
    Ok(Arc::new(out.charged()))
}

pub fn write_repr(interpreter: &mut Interpreter, value: &Value, out: &mut Text) -> Result<()> {
    interpreter.meter.enter()?;
    let written = write_repr_here(interpreter, value, out);
    interpreter.meter.leave();
    written?;
    interpreter.meter.check_output(out.len())
}

fn write_repr_here(interpreter: &mut Interpreter, value: &Value, out: &mut Text) -> Result<()> {
    let own = Origin::Template;
    match value {
        Value::Undefined(_) => out.push("Undefined", own),
        Value::None => out.push("None", own),
        Value::Bool(value) => out.push(if *value { "True" } else { "False" }, own),
        Value::Int(number, origin) => out.push(&number.to_string(), *origin),
        Value::Float(number, origin) => out.push(&float(*number), *origin),
        Value::Str(text) => {
            interpreter.meter.work(text.len() / 32)?;
            repr_text(text, out);
        }
        Value::List(items) => write_items(interpreter, "[", items, "]", out)?,
        Value::Tuple(items) => {
            let close = if items.len() == 1 { ",)" } else { ")" };
            write_items(interpreter, "(", items, close, out)?;
        }
        Value::Dict(dict) => {
            out.push("{", own);
            for (i, (key, value)) in dict.entries().iter().enumerate() {
                out.push(if i > 0 { ", " } else { "" }, own);
                write_repr(interpreter, key, out)?;
                out.push(": ", own);
                write_repr(interpreter, value, out)?;
            }
            out.push("}", own);
        }
        Value::View(view, _) => {
            let open = match view {
                View::Keys => "dict_keys([",
                View::Values => "dict_values([",
                View::Items => "dict_items([",
            };
            let items = value.items()?;
            write_items(interpreter, open, &items, "])", out)?;
        }
        Value::Range(range) => {
            let step = if range.step == 1 { String::new() } else { format!(", {}", range.step) };
            out.push(&format!("range({}, {}{step})", range.start, range.stop), own);
        }
        Value::Namespace(index) => {
            out.push("<Namespace {", own);
            let entries = interpreter.namespaces[*index].clone();
            for (i, (name, value)) in entries.iter().enumerate() {
                out.push(&format!("{}'{name}': ", if i > 0 { ", " } else { "" }), own);
                write_repr(interpreter, value, out)?;
            }
            out.push("}>", own);
        }
        Value::Macro(called) => match &called.code.name {
            Some(name) => out.push(&format!("<Macro '{name}'>"), own),
            None => out.push("<Macro anonymous>", own),
        },
        Value::Loop(state) => {
            let (index, length) = (state.index.get() + 1, state.items.len());
            out.push(&format!("<LoopContext {index}/{length}>"), own);
        }
        // Python would write an address.
        _ => fail!("a {} cannot be written as text", value.type_name()),
    }
    Ok(())
}

fn write_items(
    interpreter: &mut Interpreter,
    open: &str,
    items: &[Value],
    close: &str,
    out: &mut Text,
) -> Result<()> {
    out.push(open, Origin::Template);
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(", ", Origin::Template);
        }
        write_repr(interpreter, item, out)?;
    }
    out.push(close, Origin::Template);
    Ok(())
}

pub fn repr_text(text: &Text, out: &mut Text) {
    let single = text.as_str().contains('\'') && !text.as_str().contains('"');
    let quote = if single { '"' } else { '\'' };
    out.push_char(quote, Origin::Template);
    for (c, origin) in text.chars() {
        match c {
            '\\' => out.push("\\\\", origin),
            '\n' => out.push("\\n", origin),
            '\r' => out.push("\\r", origin),
            '\t' => out.push("\\t", origin),
            c if c == quote => {
                out.push_char('\\', origin);
                out.push_char(c, origin);
            }
            c if is_printable(c) => out.push_char(c, origin),
            c => {
                let code = c as u32;
                let escape = match code {
                    0..=0xFF => format!("\\x{code:02x}"),
                    0x100..=0xFFFF => format!("\\u{code:04x}"),
                    _ => format!("\\U{code:08x}"),
                };
                out.push(&escape, origin);
            }
        }
    }
    out.push_char(quote, Origin::Template);
}

/// str.isprintable, by the tables of std: Debug writes what is not printable as an escape, and a
/// combining mark as it is where something precedes it.
pub fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    let mut escaped = ['a', c].iter().collect::<String>().escape_debug().to_string();
    escaped.remove(0);
    escaped.chars().eq(std::iter::once(c))
}

/// repr(float): the shortest digits that read back, with an exponent outside 1e-4 .. 1e16.
pub fn float(x: f64) -> String {
    if x.is_nan() {
        return "nan".to_string();
    }
    if x.is_infinite() {
        return if x > 0.0 { "inf" } else { "-inf" }.to_string();
    }
    let sign = if x.is_sign_negative() { "-" } else { "" };
    let (digits, exponent) = shortest(x.abs());
    let behind =
        |digits: &str| if digits.is_empty() { "0".to_string() } else { digits.to_string() };
    match exponent {
        0..=15 => {
            let before = exponent as usize + 1;
            let padded = format!("{digits:0<before$}");
            format!("{sign}{}.{}", &padded[..before], behind(&padded[before..]))
        }
        -4..=-1 => format!("{sign}0.{}{digits}", "0".repeat((-exponent - 1) as usize)),
        _ => {
            let point = if digits.len() > 1 { "." } else { "" };
            let e = if exponent < 0 { '-' } else { '+' };
            format!("{sign}{}{point}{}e{e}{:02}", &digits[..1], &digits[1..], exponent.abs())
        }
    }
}

/// The fewest digits that read back as x, of a finite x that is not negative, the nearest to it and
/// the even one of two (that of `format!` is the larger one), and the exponent of the first.
fn shortest(x: f64) -> (String, i32) {
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(x);
    let (number, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (before, after) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{before}{after}");
    let significant = digits.trim_start_matches('0');
    let leading = (digits.len() - significant.len()) as i32;
    match significant.trim_end_matches('0') {
        "" => ("0".to_string(), 0),
        digits => (digits.to_string(), exponent + before.len() as i32 - 1 - leading),
    }
}
