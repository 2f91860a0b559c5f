//! What templates expect of Python: methods of strings beyond minijinja's, and json.dumps.

use minijinja::value::{from_args, Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

/// Deeper values are made by a template, not by messages.
const MAX_JSON_DEPTH: usize = 100;

/// Methods on values: pycompat's, and some that it lacks.
pub fn method(
    state: &mut State,
    value: &Value,
    name: &str,
    args: &[Value],
) -> Result<Value, Error> {
    if let Some(text) = value.as_str() {
        match name {
            "removeprefix" => {
                let (prefix,): (&str,) = from_args(args)?;
                return Ok(Value::from(text.strip_prefix(prefix).unwrap_or(text)));
            }
            "removesuffix" => {
                let (suffix,): (&str,) = from_args(args)?;
                return Ok(Value::from(text.strip_suffix(suffix).unwrap_or(text)));
            }
            "rsplit" if args.len() == 2 => {
                let (separator, limit): (&str, usize) = from_args(args)?;
                let mut parts: Vec<Value> =
                    text.rsplitn(limit.saturating_add(1), separator).map(Value::from).collect();
                parts.reverse();
                return Ok(Value::from(parts));
            }
            "partition" | "rpartition" => {
                let (separator,): (&str,) = from_args(args)?;
                let parts = partition(text, separator, name == "rpartition");
                return Ok(parts.into_iter().map(Value::from).collect());
            }
            _ => {}
        }
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, name, args)
}

fn partition<'a>(text: &'a str, separator: &'a str, from_right: bool) -> Vec<&'a str> {
    let split = if from_right { text.rsplit_once(separator) } else { text.split_once(separator) };
    match split {
        Some((before, after)) => vec![before, separator, after],
        None if from_right => vec!["", "", text],
        None => vec![text, "", ""],
    }
}

/// The options of json.dumps that transformers' tojson passes on.
pub struct JsonLayout {
    ensure_ascii: bool,
    indent: Option<usize>,
    item_separator: String,
    key_separator: String,
    sort_keys: bool,
}

impl JsonLayout {
    pub fn from_options(options: &Kwargs) -> Result<Self, Error> {
        let indent: Option<usize> = options.get("indent")?;
        let separators: Option<Vec<String>> = options.get("separators")?;
        let (item_separator, key_separator) = match separators.as_deref() {
            Some([item, key]) => (item.clone(), key.clone()),
            Some(_) => {
                let message = "tojson: separators are two strings";
                return Err(Error::new(ErrorKind::InvalidOperation, message));
            }
            None if indent.is_some() => (",".to_string(), ": ".to_string()),
            None => (", ".to_string(), ": ".to_string()),
        };
        let layout = JsonLayout {
            ensure_ascii: options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
            indent: indent.map(|n| n.min(16)),
            item_separator,
            key_separator,
            sort_keys: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        };
        options.assert_all_used()?;
        Ok(layout)
    }
}

/// As json.dumps writes it.
pub fn to_json(value: &Value, layout: &JsonLayout) -> Result<String, Error> {
    let mut out = String::new();
    write(&mut out, value, layout, 0)?;
    Ok(out)
}

fn write(out: &mut String, value: &Value, layout: &JsonLayout, depth: usize) -> Result<(), Error> {
    let refuse =
        |why: String| Err(Error::new(ErrorKind::InvalidOperation, format!("tojson: {why}")));
    if depth > MAX_JSON_DEPTH {
        return refuse(format!("nested deeper than {MAX_JSON_DEPTH} levels"));
    }
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number if value.is_integer() => out.push_str(&value.to_string()),
        ValueKind::Number => out.push_str(&python_float(f64::try_from(value.clone())?)),
        ValueKind::String => write_string(out, value.as_str().unwrap_or_default(), layout),
        ValueKind::Seq | ValueKind::Iterable => {
            let items: Vec<Value> = value.try_iter()?.collect();
            write_items(out, '[', ']', items.len(), layout, depth, |out, i| {
                write(out, &items[i], layout, depth + 1)
            })?;
        }
        ValueKind::Map => {
            let mut keys: Vec<Value> = value.try_iter()?.collect();
            if layout.sort_keys {
                keys.sort();
            }
            write_items(out, '{', '}', keys.len(), layout, depth, |out, i| {
                match keys[i].as_str() {
                    Some(key) => write_string(out, key, layout),
                    None => write_string(out, &to_json(&keys[i], layout)?, layout),
                }
                out.push_str(&layout.key_separator);
                write(out, &value.get_item(&keys[i])?, layout, depth + 1)
            })?;
        }
        kind => return refuse(format!("a value of type {kind} is not JSON")),
    }
    Ok(())
}

fn write_items(
    out: &mut String,
    open: char,
    close: char,
    count: usize,
    layout: &JsonLayout,
    depth: usize,
    mut item: impl FnMut(&mut String, usize) -> Result<(), Error>,
) -> Result<(), Error> {
    let line = |out: &mut String, depth: usize| {
        if let Some(indent) = layout.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent * depth));
        }
    };
    out.push(open);
    for i in 0..count {
        if i > 0 {
            out.push_str(&layout.item_separator);
        }
        line(out, depth + 1);
        item(out, i)?;
    }
    if count > 0 {
        line(out, depth);
    }
    out.push(close);
    Ok(())
}

fn write_string(out: &mut String, text: &str, layout: &JsonLayout) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{C}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || (layout.ensure_ascii && (c as u32) > 0x7E) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// repr(float): the shortest digits that read back, with an exponent outside 1e-4 .. 1e16.
fn python_float(x: f64) -> String {
    if x.is_nan() {
        return "NaN".to_string();
    }
    if x.is_infinite() {
        return if x > 0.0 { "Infinity" } else { "-Infinity" }.to_string();
    }
    let scientific = format!("{x:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        format!("{x:?}")
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{digits}e{sign}{:02}", exponent.abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(json: &str, options: &[(&str, Value)]) -> String {
        let value: Value = serde_json::from_str(json).unwrap();
        let options: Kwargs = options.iter().map(|(k, v)| (*k, v.clone())).collect();
        let layout = JsonLayout::from_options(&options).unwrap();
        to_json(&value, &layout).unwrap()
    }

    #[test]
    fn json_is_as_python_dumps_it() {
        let json = r#"{"b":[1,2.0,1e22,1e-7,null,true],"a":"<é\"\u0001/>","c":{},"d":[]}"#;
        assert_eq!(
            dump(json, &[]),
            "{\"b\": [1, 2.0, 1e+22, 1e-07, null, true], \"a\": \"<é\\\"\\u0001/>\", \
             \"c\": {}, \"d\": []}"
        );
        assert_eq!(dump(r#"{"a":[1]}"#, &[("indent", 2.into())]), "{\n  \"a\": [\n    1\n  ]\n}");
        assert_eq!(dump(r#""😀""#, &[("ensure_ascii", true.into())]), r#""\ud83d\ude00""#);
        assert_eq!(dump(r#"{"b":1,"a":2}"#, &[("sort_keys", true.into())]), r#"{"a": 2, "b": 1}"#);
    }
}
