//! What can go wrong in a template, and where.

use std::fmt;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The source is not a template.
    Syntax,
    /// The template called raise_exception: the words are its own.
    Raised,
    /// What it does is an error in Python or Jinja2 as well.
    Runtime,
    /// It uses more than it may.
    Limit,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Error {
    pub kind: Kind,
    pub message: String,
    /// Of the template, from 1; 0 while it is not known.
    pub line: u32,
}

/// Boxed, so that what succeeds does not carry an error's size.
pub type Result<T> = std::result::Result<T, Box<Error>>;

impl Error {
    fn boxed(kind: Kind, message: impl Into<String>, line: u32) -> Box<Error> {
        Box::new(Error { kind, message: message.into(), line })
    }

    pub fn syntax(line: u32, message: impl Into<String>) -> Box<Error> {
        Error::boxed(Kind::Syntax, message, line)
    }

    pub fn raised(message: impl Into<String>) -> Box<Error> {
        Error::boxed(Kind::Raised, message, 0)
    }

    pub fn runtime(message: impl Into<String>) -> Box<Error> {
        Error::boxed(Kind::Runtime, message, 0)
    }

    pub fn limit(message: impl Into<String>) -> Box<Error> {
        Error::boxed(Kind::Limit, message, 0)
    }

    /// The innermost statement that failed says its line.
    pub fn at(mut self: Box<Self>, line: u32) -> Box<Error> {
        if self.line == 0 {
            self.line = line;
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == Kind::Raised {
            return f.write_str(&self.message);
        }
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for Error {}

/// A runtime error with a formatted message.
macro_rules! fail {
    ($($message:tt)*) => {
        return Err($crate::jinja::error::Error::runtime(format!($($message)*)))
    };
}
pub(crate) use fail;
