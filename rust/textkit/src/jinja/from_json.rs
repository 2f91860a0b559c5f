//! JSON that a client sent, to values that are marked as the client's.

use std::sync::Arc;

use super::text::{Origin, Text};
use super::value::{Dict, Value};

/// Deeper than any tool's schema; values themselves may lie twice as deep.
const MAX_DEPTH: usize = 100;

pub fn parse(json: &str) -> Result<Value, String> {
    let mut reader = Reader { json, at: 0 };
    let value = reader.value(0)?;
    reader.spaces();
    if reader.at < json.len() {
        return Err(reader.wrong("expected the end"));
    }
    Ok(value)
}

struct Reader<'a> {
    json: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.json[self.at..]
    }

    fn wrong(&self, what: &str) -> String {
        format!("{what} at byte {}", self.at)
    }

    fn spaces(&mut self) {
        let rest = self.rest().trim_start_matches([' ', '\t', '\n', '\r']);
        self.at = self.json.len() - rest.len();
    }

    fn skip(&mut self, token: &str) -> bool {
        let skips = self.rest().starts_with(token);
        if skips {
            self.at += token.len();
        }
        skips
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH} levels"));
        }
        self.spaces();
        match self.rest().bytes().next() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Value::text(Text::of(self.string()?, Origin::Client))),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ if self.skip("true") => Ok(Value::Bool(true)),
            _ if self.skip("false") => Ok(Value::Bool(false)),
            _ if self.skip("null") => Ok(Value::None),
            _ => Err(self.wrong("expected a value")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, String> {
        self.at += 1;
        let mut dict = Dict::default();
        self.spaces();
        let mut more = !self.skip("}");
        while more {
            self.spaces();
            if !self.rest().starts_with('"') {
                return Err(self.wrong("expected a key"));
            }
            let key = Value::Str(Arc::new(Text::of(self.string()?, Origin::Client).charged()));
            self.spaces();
            if !self.skip(":") {
                return Err(self.wrong("expected ':'"));
            }
            let value = self.value(depth + 1)?;
            dict.insert(key, value).map_err(|e| e.message)?;
            more = self.another("}")?;
        }
        dict.finish().map_err(|e| e.message)
    }

    fn array(&mut self, depth: usize) -> Result<Value, String> {
        self.at += 1;
        let mut items = Vec::new();
        self.spaces();
        let mut more = !self.skip("]");
        while more {
            items.push(self.value(depth + 1)?);
            more = self.another("]")?;
        }
        Value::list(items).map_err(|e| e.message)
    }

    fn another(&mut self, close: &str) -> Result<bool, String> {
        self.spaces();
        if self.skip(",") {
            return Ok(true);
        }
        if self.skip(close) {
            return Ok(false);
        }
        Err(self.wrong(&format!("expected ',' or '{close}'")))
    }

    fn number(&mut self) -> Result<Value, String> {
        let is_part = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
        let size = self.rest().find(|c| !is_part(c)).unwrap_or(self.rest().len());
        let text = &self.rest()[..size];
        let digits = text.strip_prefix('-').unwrap_or(text);
        let whole = digits.bytes().take_while(u8::is_ascii_digit).count();
        let tail = &digits[whole..];
        let fits = whole > 0
            && (whole == 1 || !digits.starts_with('0'))
            && !tail.starts_with(['-', '+'])
            && !tail.ends_with(['.', '-', '+', 'e', 'E'])
            && !tail.starts_with(".e")
            && !tail.starts_with(".E");
        let value = if !fits {
            None
        } else if tail.is_empty() {
            text.parse().ok().map(|n| Value::Int(n, Origin::Client))
        } else {
            text.parse().ok().map(|x| Value::Float(x, Origin::Client))
        };
        let value = value.ok_or_else(|| self.wrong("a number that cannot be read"))?;
        self.at += size;
        Ok(value)
    }

    fn string(&mut self) -> Result<String, String> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = self.rest();
            let Some(stop) = rest.find(['"', '\\']) else {
                return Err(self.wrong("a string is not closed"));
            };
            if let Some(bad) = rest[..stop].find(|c: char| c < ' ') {
                self.at += bad;
                return Err(self.wrong("a control character in a string"));
            }
            out.push_str(&rest[..stop]);
            let closed = rest[stop..].starts_with('"');
            self.at += stop + 1;
            if closed {
                return Ok(out);
            }
            self.escape(&mut out)?;
        }
    }

    fn escape(&mut self, out: &mut String) -> Result<(), String> {
        let Some(c) = self.rest().chars().next() else {
            return Err(self.wrong("a string is not closed"));
        };
        self.at += c.len_utf8();
        out.push(match c {
            '"' | '\\' | '/' => c,
            'b' => '\u{8}',
            'f' => '\u{C}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let first = self.unit()?;
                let paired = (0xD800..0xDC00).contains(&first) && self.rest().starts_with("\\u");
                if paired {
                    self.at += 2;
                    let second = self.unit()?;
                    let pair = char::decode_utf16([first, second]).next();
                    pair.and_then(Result::ok).ok_or_else(|| self.wrong("half a surrogate pair"))?
                } else {
                    char::from_u32(u32::from(first))
                        .ok_or_else(|| self.wrong("half a surrogate pair"))?
                }
            }
            _ => return Err(self.wrong("an unknown escape")),
        });
        Ok(())
    }

    fn unit(&mut self) -> Result<u16, String> {
        let digits = self.rest().get(..4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let unit = digits.and_then(|d| u16::from_str_radix(d, 16).ok());
        let unit = unit.ok_or_else(|| self.wrong("\\u without four digits"))?;
        self.at += 4;
        Ok(unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_not_json() {
        let broken = [
            "",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "01",
            "1.",
            "-",
            "1e",
            ".5",
            "+1",
            "nul",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"a",
            "\"\n\"",
            "[1] 2",
            "{1:2}",
            "'a'",
            "\"\\u12\"",
            "1.e5",
        ];
        for json in broken {
            assert!(parse(json).is_err(), "{json}");
        }
        assert!(parse(&"[".repeat(100_000)).is_err());
    }

    #[test]
    fn reads_escapes_and_numbers() {
        let Ok(Value::List(items)) =
            parse("[\"\\ud83d\\ude00\\n/\\/é\", -0, 12e2, 1E-7, 18446744073709551615]")
        else {
            panic!("a list")
        };
        assert_eq!(items[0].as_str(), Some("😀\n//é"));
        assert!(matches!(items[1], Value::Int(0, Origin::Client)));
        assert!(matches!(items[2], Value::Float(x, Origin::Client) if x == 1200.0));
        assert!(matches!(items[3], Value::Float(x, _) if x == 1e-7));
        assert!(matches!(items[4], Value::Int(n, _) if n == u64::MAX.into()));
    }
}
