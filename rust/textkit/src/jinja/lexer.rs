//! Template source to tokens, with transformers' settings of Jinja2: trim_blocks (the newline after
//! a block goes), lstrip_blocks (so do the spaces before one that begins its line), and the source's
//! last newline is dropped.

use super::error::{Error, Result};
use super::text::is_space;

#[derive(Clone, PartialEq, Debug)]
pub enum Token {
    Data(String),
    BlockBegin,
    BlockEnd,
    PrintBegin,
    PrintEnd,
    Name(String),
    Str(String),
    Int(i128),
    Float(f64),
    Op(&'static str),
    End,
}

/// Longer ones first.
const OPERATORS: [&str; 26] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}",
    ">", "<", "=", ".", ":", "|", ",", ";",
];

pub fn tokenize(source: &str) -> Result<Vec<(Token, u32)>> {
    let mut source = source.replace("\r\n", "\n").replace('\r', "\n");
    if source.ends_with('\n') {
        source.pop();
    }
    let mut lexer =
        Lexer { source: &source, at: 0, line: 1, line_starting: true, tokens: Vec::new() };
    lexer.run()?;
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    line: u32,
    /// What was read last ended with a newline.
    line_starting: bool,
    tokens: Vec<(Token, u32)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Tag {
    Print,
    Block,
    Comment,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.source[self.at..]
    }

    fn advance(&mut self, bytes: usize) {
        let read = &self.source[self.at..self.at + bytes];
        self.line += read.bytes().filter(|b| *b == b'\n').count() as u32;
        self.line_starting = read.ends_with('\n');
        self.at += bytes;
    }

    fn skip_spaces(&mut self) {
        let spaces = leading_spaces(self.rest());
        if spaces > 0 {
            self.advance(spaces);
        }
    }

    fn push(&mut self, token: Token) {
        self.tokens.push((token, self.line));
    }

    fn run(&mut self) -> Result<()> {
        while let Some((start, tag)) = next_tag(self.rest()) {
            let inside = &self.rest()[start + 2..];
            let sign = inside.chars().next().filter(|c| matches!(c, '-' | '+'));
            self.data(start, sign, tag != Tag::Print);
            match tag {
                Tag::Comment => {
                    self.advance(2 + sign.map_or(0, char::len_utf8));
                    self.comment()?;
                }
                Tag::Block => {
                    if let Some(size) = raw_begin(self.rest()) {
                        self.advance(size);
                        self.raw()?;
                        continue;
                    }
                    self.push(Token::BlockBegin);
                    self.advance(2 + sign.map_or(0, char::len_utf8));
                    self.expression("%}", Token::BlockEnd)?;
                }
                Tag::Print => {
                    self.push(Token::PrintBegin);
                    self.advance(2 + sign.map_or(0, char::len_utf8));
                    self.expression("}}", Token::PrintEnd)?;
                }
            }
        }
        let rest = self.rest().to_string();
        if !rest.is_empty() {
            self.push(Token::Data(rest));
        }
        self.at = self.source.len();
        self.push(Token::End);
        Ok(())
    }

    /// The text up to a tag, less what the tag takes with it.
    fn data(&mut self, size: usize, sign: Option<char>, strips_line: bool) {
        let text = &self.rest()[..size];
        let kept = match sign {
            Some('-') => text.trim_end_matches(is_space),
            None if strips_line => {
                let line = text.rfind('\n').map_or(0, |newline| newline + 1);
                let on_own_line = line > 0 || self.line_starting;
                if on_own_line && text[line..].chars().all(is_space) {
                    &text[..line]
                } else {
                    text
                }
            }
            _ => text,
        };
        let kept = kept.to_string();
        if !kept.is_empty() {
            self.push(Token::Data(kept));
        }
        if size > 0 {
            self.advance(size);
        }
    }

    fn comment(&mut self) -> Result<()> {
        let Some(end) = self.rest().find("#}") else {
            return Err(Error::syntax(self.line, "a comment is not closed by '#}'"));
        };
        let sign = self.rest()[..end].chars().next_back();
        self.advance(end);
        self.close_tag(sign);
        Ok(())
    }

    /// Two bytes of a tag's end, and the space that it takes with it.
    fn close_tag(&mut self, sign: Option<char>) {
        self.advance(2);
        match sign {
            Some('-') => self.skip_spaces(),
            Some('+') => {}
            _ if self.rest().starts_with('\n') => self.advance(1),
            _ => {}
        }
    }

    fn raw(&mut self) -> Result<()> {
        let mut from = 0;
        while let Some(found) = self.rest()[from..].find("{%") {
            let start = from + found;
            let tag = &self.rest()[start + 2..];
            let sign = tag.chars().next().filter(|c| matches!(c, '-' | '+'));
            let inner = tag[sign.map_or(0, char::len_utf8)..].trim_start_matches(is_space);
            if let Some(after) = inner.strip_prefix("endraw") {
                let after = after.trim_start_matches(is_space);
                let end_sign = after.chars().next().filter(|c| matches!(c, '-' | '+'));
                if after[end_sign.map_or(0, char::len_utf8)..].starts_with("%}") {
                    let end = self.source.len() - self.at - after.len()
                        + end_sign.map_or(0, char::len_utf8);
                    self.data(start, sign, true);
                    self.advance(end - start);
                    self.close_tag(end_sign);
                    return Ok(());
                }
            }
            from = start + 2;
        }
        Err(Error::syntax(self.line, "a raw block is not closed by 'endraw'"))
    }

    /// What stands inside a tag.
    fn expression(&mut self, end: &str, end_token: Token) -> Result<()> {
        let mut open: Vec<char> = Vec::new();
        loop {
            self.skip_spaces();
            let rest = self.rest();
            let Some(c) = rest.chars().next() else {
                return Err(Error::syntax(self.line, format!("a tag is not closed by '{end}'")));
            };
            if open.is_empty() {
                let sign = matches!(c, '-' | '+').then_some(c);
                // A print tag has no plus at its end.
                let sign = sign.filter(|s| *s == '-' || end == "%}");
                if rest[sign.map_or(0, char::len_utf8)..].starts_with(end) {
                    self.push(end_token);
                    self.advance(sign.map_or(0, char::len_utf8));
                    if end == "%}" {
                        self.close_tag(sign);
                    } else {
                        self.close_tag(sign.or(Some('+')));
                    }
                    return Ok(());
                }
            }
            if c.is_ascii_digit() {
                self.number()?;
            } else if c == '_' || c.is_alphanumeric() {
                let size = rest.find(|c: char| c != '_' && !c.is_alphanumeric());
                let name = rest[..size.unwrap_or(rest.len())].to_string();
                self.advance(name.len());
                self.push(Token::Name(name));
            } else if c == '\'' || c == '"' {
                self.string(c)?;
            } else {
                self.operator(&mut open)?;
            }
        }
    }

    fn operator(&mut self, open: &mut Vec<char>) -> Result<()> {
        let rest = self.rest();
        let Some(op) = OPERATORS.iter().find(|op| rest.starts_with(**op)) else {
            let c = rest.chars().next().unwrap_or_default();
            return Err(Error::syntax(self.line, format!("unexpected character {c:?}")));
        };
        match *op {
            "(" => open.push(')'),
            "[" => open.push(']'),
            "{" => open.push('}'),
            ")" | "]" | "}" => {
                let expected = open.pop();
                if expected != op.chars().next() {
                    let message = match expected {
                        Some(wanted) => format!("unexpected '{op}', expected '{wanted}'"),
                        None => format!("unexpected '{op}'"),
                    };
                    return Err(Error::syntax(self.line, message));
                }
            }
            _ => {}
        }
        self.push(Token::Op(op));
        self.advance(op.len());
        Ok(())
    }

    fn number(&mut self) -> Result<()> {
        let rest = self.rest();
        let after_dot = self.at > 0 && self.source.as_bytes()[self.at - 1] == b'.';
        let (size, token) = match float_size(rest).filter(|_| !after_dot) {
            Some(size) => (size, rest[..size].replace('_', "").parse().ok().map(Token::Float)),
            None => {
                let (size, digits, radix) = integer(rest);
                (size, i128::from_str_radix(&digits, radix).ok().map(Token::Int))
            }
        };
        let Some(token) = token else {
            return Err(Error::syntax(self.line, "a number is too large"));
        };
        self.push(token);
        self.advance(size);
        Ok(())
    }

    fn string(&mut self, quote: char) -> Result<()> {
        let rest = self.rest();
        let mut escaped = false;
        let end = rest.char_indices().skip(1).find(|(_, c)| {
            let ends = *c == quote && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        let Some((end, _)) = end else {
            return Err(Error::syntax(self.line, "a string is not closed"));
        };
        let text = unescape(&rest[1..end]).map_err(|why| Error::syntax(self.line, why))?;
        self.push(Token::Str(text));
        self.advance(end + 1);
        Ok(())
    }
}

fn leading_spaces(text: &str) -> usize {
    text.len() - text.trim_start_matches(is_space).len()
}

fn next_tag(text: &str) -> Option<(usize, Tag)> {
    let bytes = text.as_bytes();
    let mut from = 0;
    while let Some(found) = text[from..].find('{') {
        let at = from + found;
        match bytes.get(at + 1) {
            Some(b'{') => return Some((at, Tag::Print)),
            Some(b'%') => return Some((at, Tag::Block)),
            Some(b'#') => return Some((at, Tag::Comment)),
            _ => from = at + 1,
        }
    }
    None
}

/// The size of a `{% raw %}` at the beginning of `text`.
fn raw_begin(text: &str) -> Option<usize> {
    let tag = text.strip_prefix("{%")?;
    let tag = tag.strip_prefix(['-', '+']).unwrap_or(tag).trim_start_matches(is_space);
    let tag = tag.strip_prefix("raw")?.trim_start_matches(is_space);
    let after = match tag.strip_prefix("-%}") {
        Some(after) => after.trim_start_matches(is_space),
        None => tag.strip_prefix("%}")?,
    };
    Some(text.len() - after.len())
}

/// The size of digits that may be grouped by single underscores.
fn digits_size(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut size = 0;
    while size < bytes.len() {
        let grouped = bytes[size] == b'_' && size > 0;
        let digit = size + usize::from(grouped);
        if !bytes.get(digit).is_some_and(u8::is_ascii_digit) {
            break;
        }
        size = digit + 1;
    }
    size
}

fn float_size(text: &str) -> Option<usize> {
    let whole = digits_size(text);
    let mut size = whole;
    if text[size..].starts_with('.') {
        let fraction = digits_size(&text[size + 1..]);
        if fraction > 0 {
            size += 1 + fraction;
        }
    }
    if text[size..].starts_with(['e', 'E']) {
        let sign = usize::from(text[size + 1..].starts_with(['+', '-']));
        let exponent = digits_size(&text[size + 1 + sign..]);
        if exponent > 0 {
            size += 1 + sign + exponent;
        }
    }
    (size > whole).then_some(size)
}

/// The size of an integer, its digits and their radix.
fn integer(text: &str) -> (usize, String, u32) {
    for (prefix, radix) in [("0b", 2), ("0o", 8), ("0x", 16)] {
        if text.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(prefix)) {
            let is_digit = |c: char| c == '_' || c.is_digit(radix);
            let digits = &text[2..];
            let size = digits.find(|c| !is_digit(c)).unwrap_or(digits.len());
            let digits = digits[..size].replace('_', "");
            if !digits.is_empty() {
                return (2 + size, digits, radix);
            }
        }
    }
    let mut size = digits_size(text);
    if text.starts_with('0') {
        size = text.find(|c| c != '0').unwrap_or(text.len());
    }
    (size, text[..size].replace('_', ""), 10)
}

/// A string literal's text: Python's escapes.
fn unescape(literal: &str) -> std::result::Result<String, String> {
    let mut out = String::with_capacity(literal.len());
    let mut rest = literal.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let escape = rest.next().ok_or("a string ends with a backslash")?;
        match escape {
            '\n' => {}
            '\\' | '\'' | '"' => out.push(escape),
            'a' => out.push('\x07'),
            'b' => out.push('\x08'),
            'f' => out.push('\x0c'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'v' => out.push('\x0b'),
            'x' => out.push(code_point(&mut rest, 2)?),
            'u' => out.push(code_point(&mut rest, 4)?),
            'U' => out.push(code_point(&mut rest, 8)?),
            '0'..='7' => {
                let mut value = escape.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    match rest.clone().next().and_then(|c| c.to_digit(8)) {
                        Some(digit) => value = value * 8 + digit,
                        None => break,
                    }
                    rest.next();
                }
                out.extend(char::from_u32(value));
            }
            'N' => return Err("\\N{...} is not supported in a string".to_string()),
            // Jinja2 writes other characters as escapes first, so that the backslash stays.
            other if !other.is_ascii() => {
                let code = other as u32;
                let spelled = match code {
                    0..=0xFF => format!("\\x{code:02x}"),
                    0x100..=0xFFFF => format!("\\u{code:04x}"),
                    _ => format!("\\U{code:08x}"),
                };
                out.push_str(&spelled);
            }
            other => {
                out.push('\\');
                out.push(other);
            }
        }
    }
    Ok(out)
}

fn code_point(rest: &mut std::str::Chars, digits: usize) -> std::result::Result<char, String> {
    let text: String = rest.take(digits).collect();
    let code = (text.len() == digits).then(|| u32::from_str_radix(&text, 16).ok()).flatten();
    code.and_then(char::from_u32).ok_or_else(|| format!("'{text}' is not a character's number"))
}
