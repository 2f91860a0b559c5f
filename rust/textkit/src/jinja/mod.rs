//! Jinja2 as `transformers` sets it up for chat templates, in an interpreter whose strings know
//! which of their bytes a client chose (text.rs). What is rendered is byte for byte what Jinja2
//! renders, or an error where it raises; tests/golden/make_templates.py holds it to that.
//!
//! lexer -> parser, statements, expressions -> ast -> eval (expressions), exec (statements). values
//! are in value.rs, what they do in ops, members, methods, filters, tests, print, format and to_json.
//! limits.rs bounds what a template may use.

mod ast;
mod calls;
mod error;
mod eval;
mod exec;
mod expressions;
mod filters;
mod format;
mod from_json;
mod lexer;
mod limits;
mod members;
mod methods;
mod ops;
mod parser;
mod print;
mod scope;
mod statements;
mod tests;
mod text;
mod to_json;
mod value;

use std::rc::Rc;
use std::sync::Arc;

pub use error::{Kind, Result};
use eval::Clock;
pub use from_json::parse as parse_json;
pub use limits::Limits;
pub use text::{Origin, Text};
pub use value::{Dict, Value};

/// A template, read; any thread may render it.
pub struct Program {
    body: Vec<ast::Stmt>,
    names: parser::Names,
    literals: Vec<Arc<Text>>,
}

impl Program {
    pub fn new(source: &str) -> Result<Program> {
        let (body, names, literals) = parser::parse(lexer::tokenize(source)?)?;
        Ok(Program { body, names, literals })
    }

    /// Whether one of its texts holds `words`.
    pub fn speaks_of(&self, words: &str) -> bool {
        self.literals.iter().any(|text| text.as_str().contains(words))
    }

    /// The text that the template writes with these variables, and the fuel that it took.
    pub fn render(
        &self,
        variables: &[(&str, Value)],
        clock: Clock,
        limits: Limits,
    ) -> Result<(Text, u64)> {
        let mut interpreter = eval::Interpreter::new(&self.names, clock, limits);
        for (name, value) in variables {
            interpreter.define(name, value.clone());
        }
        let mut out = Text::new();
        let root = Rc::clone(&interpreter.root);
        interpreter.run(&self.body, &root, &mut out)?;
        Ok((out, interpreter.meter.used()))
    }
}
