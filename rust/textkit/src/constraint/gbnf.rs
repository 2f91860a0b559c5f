//! GBNF, llama.cpp's way to write a grammar, put into Lark as `llguidance` reads it.
//!
//!   rule      = name "::=" choices            until the next rule begins
//!   choices   = sequence ("|" sequence)*
//!   sequence  = (item ("*" | "+" | "?" | "{" n? ","? m? "}")?)*
//!   item      = '"' text '"' | "[" "^"? ranges "]" | "." | name | "(" choices ")"
//!   comments  = "#" to the end of the line
//!
//! GBNF's symbols are characters, so each character becomes a terminal of its own: longer ones would
//! be matched greedily, and what another branch of the grammar allows there would be lost.

use std::collections::HashMap;
use std::fmt::Write;
use std::iter::Peekable;
use std::str::Chars;

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    line: usize,
    /// Of each name its number, and whether a rule defines it.
    names: HashMap<String, (usize, bool)>,
    out: String,
}

/// Errors name the line.
pub fn to_lark(source: &str) -> Result<String, String> {
    let mut reader = Reader {
        rest: source.chars().peekable(),
        line: 1,
        names: HashMap::new(),
        out: String::new(),
    };
    reader.grammar().map_err(|message| format!("line {}: {message}", reader.line))?;
    let Some((root, true)) = reader.names.get("root") else {
        return Err("no rule is named 'root', with which a grammar begins".to_string());
    };
    if let Some((name, _)) = reader.names.iter().find(|(_, (_, defined))| !defined) {
        return Err(format!("the rule '{name}' is used, but not defined"));
    }
    Ok(format!("start: r{root}\n{}", reader.out))
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.rest.next();
        self.line += usize::from(next == Some('\n'));
        next
    }

    fn skip(&mut self, wanted: char) -> bool {
        let found = self.rest.peek() == Some(&wanted);
        if found {
            self.next();
        }
        found
    }

    /// Spaces and comments, and ends of lines where the rule cannot end.
    fn space(&mut self, lines: bool) {
        while let Some(&next) = self.rest.peek() {
            if next == '#' {
                while self.rest.peek().is_some_and(|c| *c != '\n') {
                    self.next();
                }
            } else if next == ' ' || next == '\t' || lines && (next == '\n' || next == '\r') {
                self.next();
            } else {
                return;
            }
        }
    }

    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        while let Some(c) =
            self.rest.peek().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(**c))
        {
            name.push(*c);
            self.next();
        }
        (!name.is_empty()).then_some(name)
    }

    fn number_of(&mut self, name: String) -> &mut (usize, bool) {
        let next = self.names.len();
        self.names.entry(name).or_insert((next, false))
    }

    fn grammar(&mut self) -> Result<(), String> {
        loop {
            self.space(true);
            if self.rest.peek().is_none() {
                return Ok(());
            }
            let name = self.name().ok_or("a rule begins with its name")?;
            self.space(false);
            if !"::=".chars().all(|c| self.skip(c)) {
                return Err(format!("'::=' is missing after '{name}'"));
            }
            let (number, defined) = self.number_of(name.clone());
            if std::mem::replace(defined, true) {
                return Err(format!("the rule '{name}' is defined twice"));
            }
            let number = *number;
            write!(self.out, "r{number}:").map_err(|e| e.to_string())?;
            self.space(true);
            self.choices(false)?;
            self.out.push('\n');
            if !matches!(self.rest.peek(), None | Some('\n' | '\r')) {
                return Err("it goes on with what is no part of a rule".to_string());
            }
        }
    }

    /// `nested`: in parentheses, where lines may end.
    fn choices(&mut self, nested: bool) -> Result<(), String> {
        loop {
            self.sequence(nested)?;
            self.space(nested);
            if !self.skip('|') {
                return Ok(());
            }
            self.space(true);
            self.out.push_str(" |");
        }
    }

    fn sequence(&mut self, nested: bool) -> Result<(), String> {
        let mut empty = true;
        loop {
            self.space(nested);
            match self.rest.peek() {
                Some('"') => {
                    self.next();
                    self.literal()?;
                }
                Some('[') => {
                    self.next();
                    self.class()?;
                }
                Some('.') => {
                    self.next();
                    self.out.push_str(" /(.|\\n)/");
                }
                Some('(') => {
                    self.next();
                    self.out.push_str(" (");
                    self.space(true);
                    self.choices(true)?;
                    if !self.skip(')') {
                        return Err("a ')' is missing".to_string());
                    }
                    self.out.push_str(" )");
                }
                Some(c) if c.is_ascii_alphanumeric() || "-_".contains(*c) => {
                    let name = self.name().unwrap_or_default();
                    let number = self.number_of(name).0;
                    write!(self.out, " r{number}").map_err(|e| e.to_string())?;
                }
                _ => break,
            }
            empty = false;
            self.repetition()?;
        }
        if empty {
            self.out.push_str(" \"\"");
        }
        Ok(())
    }

    fn repetition(&mut self) -> Result<(), String> {
        self.space(false);
        match self.rest.peek() {
            Some(c @ ('*' | '+' | '?')) => {
                self.out.push(*c);
                self.next();
            }
            Some('{') => {
                while let Some(c) = self.next() {
                    match c {
                        '0'..='9' | ',' | '{' | '}' => self.out.push(c),
                        ' ' => continue,
                        _ => break,
                    }
                    if c == '}' {
                        return Ok(());
                    }
                }
                return Err("a repetition is written {2}, {2,} or {2,5}".to_string());
            }
            _ => {}
        }
        Ok(())
    }

    /// The character that an escape stands for.
    fn escape(&mut self) -> Result<char, String> {
        let digits = match self.next() {
            Some('n') => return Ok('\n'),
            Some('r') => return Ok('\r'),
            Some('t') => return Ok('\t'),
            Some(c @ ('\\' | '"' | '[' | ']' | '-' | '^' | '/' | '\'')) => return Ok(c),
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            _ => {
                return Err("an escape is \\n, \\r, \\t, \\\\, \\\", \\[, \\], \\xHH or \\uHHHH"
                    .to_string())
            }
        };
        let mut code = 0;
        for _ in 0..digits {
            let digit = self.next().and_then(|c| c.to_digit(16));
            code = code * 16
                + digit.ok_or_else(|| format!("{digits} hexadecimal digits are missing"))?;
        }
        char::from_u32(code).ok_or_else(|| format!("there is no character {code:#x}"))
    }

    /// As a group, which a repetition is about.
    fn literal(&mut self) -> Result<(), String> {
        self.out.push_str(" (");
        let mut empty = true;
        loop {
            let c = match self.next() {
                Some('"') => break,
                Some('\\') => self.escape()?,
                Some('\n') | None => return Err("the end of a string is missing".to_string()),
                Some(c) => c,
            };
            write!(self.out, " {}", serde_json::Value::from(c.to_string()))
                .map_err(|e| e.to_string())?;
            empty = false;
        }
        self.out.push_str(if empty { " \"\" )" } else { " )" });
        Ok(())
    }

    fn class(&mut self) -> Result<(), String> {
        let mut class = String::from(if self.skip('^') { " /[^" } else { " /[" });
        let mut first = true;
        loop {
            let c = match self.next() {
                Some(']') if !first => break,
                Some('\\') => self.escape()?,
                Some('\n') | None => {
                    return Err("the ']' of a set of characters is missing".to_string())
                }
                Some('-') if !first && self.rest.peek() != Some(&']') => {
                    class.push('-');
                    continue;
                }
                Some(c) => c,
            };
            write!(class, "\\u{{{:X}}}", u32::from(c)).map_err(|e| e.to_string())?;
            first = false;
        }
        self.out.push_str(&class);
        self.out.push_str("]/");
        Ok(())
    }
}
