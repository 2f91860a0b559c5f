//! The `tojson` of transformers: json.dumps with its options.

use super::calls::Arguments;
use super::error::{fail, Result};
use super::eval::Interpreter;
use super::ops;
use super::print;
use super::text::{Origin, Text};
use super::value::{Number, Value};

struct Layout {
    ensure_ascii: bool,
    indent: Option<Text>,
    item_separator: Text,
    key_separator: Text,
    sort_keys: bool,
}

impl Layout {
    fn new(interpreter: &mut Interpreter, args: Arguments) -> Result<Layout> {
        let names = ["ensure_ascii", "indent", "separators", "sort_keys"];
        let [ensure_ascii, indent, separators, sort_keys] = args.bind("tojson", names)?;
        let own = |text: &str| Text::of(text, Origin::Template);
        let indent = match indent {
            None | Some(Value::None) => None,
            Some(Value::Str(text)) => Some(Text::clone(&text)),
            Some(other) => match Number::of(&other) {
                Some(Number::Int(width)) => {
                    let width = usize::try_from(width.max(0)).unwrap_or(usize::MAX);
                    interpreter.meter.reserve(width)?;
                    let mut spaces = Text::new();
                    spaces.push_repeated(' ', width, Origin::Template);
                    Some(spaces)
                }
                _ => fail!("tojson: indent is a number or a string, not {}", other.type_name()),
            },
        };
        let (item_separator, key_separator) = match separators {
            None | Some(Value::None) if indent.is_some() => (own(","), own(": ")),
            None | Some(Value::None) => (own(", "), own(": ")),
            Some(pair) => match &pair.items()?[..] {
                [Value::Str(item), Value::Str(key)] => (Text::clone(item), Text::clone(key)),
                _ => fail!("tojson: separators are two strings"),
            },
        };
        let truth = |value: Option<Value>| value.is_some_and(|value| value.truth());
        Ok(Layout {
            ensure_ascii: truth(ensure_ascii),
            indent,
            item_separator,
            key_separator,
            sort_keys: truth(sort_keys),
        })
    }
}

pub fn filter(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    let layout = Layout::new(interpreter, args)?;
    let mut out = Text::new();
    Writer { interpreter, layout: &layout, out: &mut out }.write(&value, 0)?;
    Ok(Value::text(out))
}

struct Writer<'a, 'b> {
    interpreter: &'a mut Interpreter<'b>,
    layout: &'a Layout,
    out: &'a mut Text,
}

impl Writer<'_, '_> {
    fn own(&mut self, text: &str) {
        self.out.push(text, Origin::Template);
    }

    fn write(&mut self, value: &Value, depth: usize) -> Result<()> {
        self.interpreter.meter.work(1)?;
        self.interpreter.meter.check_output(self.out.len())?;
        match value {
            Value::Str(text) => self.string(text)?,
            Value::List(items) | Value::Tuple(items) => {
                self.own("[");
                for (i, item) in items.iter().enumerate() {
                    self.separate(i, depth + 1);
                    self.write(item, depth + 1)?;
                }
                self.close(items.len(), depth, "]");
            }
            Value::Dict(dict) => {
                let mut entries: Vec<&(Value, Value)> = dict.entries().iter().collect();
                if self.layout.sort_keys {
                    self.sort(&mut entries)?;
                }
                self.own("{");
                for (i, (key, value)) in entries.iter().enumerate() {
                    self.separate(i, depth + 1);
                    self.key(key)?;
                    self.out.push_text(&self.layout.key_separator);
                    self.write(value, depth + 1)?;
                }
                self.close(entries.len(), depth, "}");
            }
            _ => match scalar(value) {
                Some((text, origin)) => self.out.push(&text, origin),
                None => fail!("Object of type {} is not JSON serializable", value.type_name()),
            },
        }
        Ok(())
    }

    fn sort(&mut self, entries: &mut [&(Value, Value)]) -> Result<()> {
        let mut failed = None;
        entries.sort_by(|a, b| {
            ops::order(self.interpreter, "<", &a.0, &b.0)
                .unwrap_or_else(|error| {
                    failed.get_or_insert(error);
                    None
                })
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        failed.map_or(Ok(()), Err)
    }

    fn key(&mut self, key: &Value) -> Result<()> {
        match (key, scalar(key)) {
            (Value::Str(text), _) => self.string(text),
            (_, Some((text, origin))) => {
                self.own("\"");
                self.out.push(&text, origin);
                self.own("\"");
                Ok(())
            }
            _ => fail!("keys must be str, int, float, bool or None, not {}", key.type_name()),
        }
    }

    fn line(&mut self, depth: usize) {
        if let Some(indent) = &self.layout.indent {
            self.out.push("\n", Origin::Template);
            for _ in 0..depth {
                self.out.push_text(indent);
            }
        }
    }

    /// Before item `index`.
    fn separate(&mut self, index: usize, depth: usize) {
        if index > 0 {
            self.out.push_text(&self.layout.item_separator);
        }
        self.line(depth);
    }

    fn close(&mut self, count: usize, depth: usize, bracket: &str) {
        if count > 0 {
            self.line(depth);
        }
        self.own(bracket);
    }

    fn string(&mut self, text: &Text) -> Result<()> {
        self.interpreter.meter.work(text.len() / 32)?;
        self.own("\"");
        for (run, origin) in text.runs() {
            let mut from = 0;
            for (at, c) in run.char_indices() {
                let Some(escape) = self.escape(c) else { continue };
                self.out.push(&run[from..at], origin);
                self.out.push(&escape, origin);
                from = at + c.len_utf8();
            }
            self.out.push(&run[from..], origin);
        }
        self.own("\"");
        Ok(())
    }

    fn escape(&self, c: char) -> Option<String> {
        let short = match c {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\u{8}' => "\\b",
            '\u{C}' => "\\f",
            c if (c as u32) < 0x20 || (self.layout.ensure_ascii && (c as u32) > 0x7E) => {
                let units = c.encode_utf16(&mut [0; 2]).to_vec();
                return Some(units.iter().map(|unit| format!("\\u{unit:04x}")).collect());
            }
            _ => return None,
        };
        Some(short.to_string())
    }
}

fn scalar(value: &Value) -> Option<(String, Origin)> {
    let text = match value {
        Value::None => "null".to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Int(number, _) => number.to_string(),
        Value::Float(x, _) if x.is_nan() => "NaN".to_string(),
        Value::Float(x, _) if x.is_infinite() => {
            if *x > 0.0 { "Infinity" } else { "-Infinity" }.to_string()
        }
        Value::Float(x, _) => print::float(*x),
        _ => return None,
    };
    Some((text, value.origin()))
}
