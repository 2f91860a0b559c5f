//! Tokens to a tree: what reading statements (statements.rs) and expressions (expressions.rs) have
//! in common.

use std::collections::HashMap;
use std::sync::Arc;

use super::ast::Stmt;
use super::error::{Error, Result};
use super::lexer::Token;
use super::scope::Symbol;
use super::text::Text;

/// Real templates stay under 40.
pub(super) const MAX_HEIGHT: u16 = 200;

pub const LOOP: Symbol = 0;
pub const CALLER: Symbol = 1;
pub const VARARGS: Symbol = 2;
pub const KWARGS: Symbol = 3;

/// The names of a template, each with its number.
pub struct Names {
    texts: Vec<Arc<str>>,
    symbols: HashMap<Arc<str>, Symbol>,
}

impl Names {
    fn new() -> Names {
        let mut names = Names { texts: Vec::new(), symbols: HashMap::new() };
        for name in ["loop", "caller", "varargs", "kwargs"] {
            names.symbol(name);
        }
        names
    }

    fn symbol(&mut self, name: &str) -> Symbol {
        if let Some(symbol) = self.symbols.get(name) {
            return *symbol;
        }
        let (text, symbol): (Arc<str>, _) = (name.into(), self.texts.len() as Symbol);
        self.texts.push(Arc::clone(&text));
        self.symbols.insert(text, symbol);
        symbol
    }

    pub fn find(&self, name: &str) -> Option<Symbol> {
        self.symbols.get(name).copied()
    }

    pub fn text(&self, symbol: Symbol) -> &Arc<str> {
        &self.texts[symbol as usize]
    }
}

pub struct Parser {
    tokens: Vec<(Token, u32)>,
    at: usize,
    pub(super) names: Names,
    /// How often each of the names with a meaning of their own was read.
    pub(super) uses: [u32; 4],
    pub(super) depth: u16,
    pub(super) loops: u32,
    /// The texts of all string literals, for who wants to know what a template speaks of.
    pub(super) literals: Vec<Arc<Text>>,
}

/// What a source is, read: its statements, its names and its string literals.
pub type Parsed = (Vec<Stmt>, Names, Vec<Arc<Text>>);

pub fn parse(tokens: Vec<(Token, u32)>) -> Result<Parsed> {
    let mut parser = Parser {
        tokens,
        at: 0,
        names: Names::new(),
        uses: [0; 4],
        depth: 0,
        loops: 0,
        literals: Vec::new(),
    };
    let body = parser.parse_body(&[])?;
    Ok((body, parser.names, parser.literals))
}

impl Parser {
    pub(super) fn token(&self) -> &Token {
        &self.tokens[self.at].0
    }

    pub(super) fn line(&self) -> u32 {
        self.tokens[self.at].1
    }

    pub(super) fn look(&self) -> &Token {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].0
    }

    pub(super) fn next(&mut self) -> Token {
        let token = self.tokens[self.at].0.clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    pub(super) fn fail<T>(&self, message: impl Into<String>) -> Result<T> {
        Err(Error::syntax(self.line(), message))
    }

    fn found(&self) -> String {
        match self.token() {
            Token::Data(_) => "text".to_string(),
            Token::BlockBegin => "'{%'".to_string(),
            Token::BlockEnd => "'%}'".to_string(),
            Token::PrintBegin => "'{{'".to_string(),
            Token::PrintEnd => "'}}'".to_string(),
            Token::Name(name) => format!("'{name}'"),
            Token::Str(_) => "a string".to_string(),
            Token::Int(_) | Token::Float(_) => "a number".to_string(),
            Token::Op(op) => format!("'{op}'"),
            Token::End => "the end of the template".to_string(),
        }
    }

    pub(super) fn unexpected<T>(&self, wanted: &str) -> Result<T> {
        self.fail(format!("expected {wanted}, found {}", self.found()))
    }

    pub(super) fn is_op(&self, op: &str) -> bool {
        matches!(self.token(), Token::Op(found) if *found == op)
    }

    pub(super) fn is_name(&self, name: &str) -> bool {
        matches!(self.token(), Token::Name(found) if found == name)
    }

    pub(super) fn skip_op(&mut self, op: &str) -> bool {
        let skips = self.is_op(op);
        if skips {
            self.next();
        }
        skips
    }

    pub(super) fn skip_name(&mut self, name: &str) -> bool {
        let skips = self.is_name(name);
        if skips {
            self.next();
        }
        skips
    }

    pub(super) fn expect_op(&mut self, op: &str) -> Result<()> {
        if self.skip_op(op) {
            return Ok(());
        }
        self.unexpected(&format!("'{op}'"))
    }

    pub(super) fn expect_token(&mut self, token: &Token, wanted: &str) -> Result<()> {
        if self.token() == token {
            self.next();
            return Ok(());
        }
        self.unexpected(wanted)
    }

    pub(super) fn expect_any_name(&mut self) -> Result<String> {
        match self.token() {
            Token::Name(name) => {
                let name = name.clone();
                self.next();
                Ok(name)
            }
            _ => self.unexpected("a name"),
        }
    }

    pub(super) fn symbol(&mut self, name: &str) -> Symbol {
        let symbol = self.names.symbol(name);
        if let Some(uses) = self.uses.get_mut(symbol as usize) {
            *uses += 1;
        }
        symbol
    }

    /// Runs `parse` one level deeper.
    pub(super) fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= MAX_HEIGHT {
            return self.fail(format!("nested deeper than {MAX_HEIGHT} levels"));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }
}
