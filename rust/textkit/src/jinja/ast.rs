//! A template, read. Shared by all renderings, so it holds no values that one of them could change.

use std::sync::Arc;

use super::calls::Arguments;
use super::error::Result;
use super::eval::Interpreter;
use super::scope::Symbol;
use super::text::Text;
use super::value::Value;

pub type FilterFn = fn(&mut Interpreter, Value, Arguments) -> Result<Value>;
pub type TestFn = fn(&mut Interpreter, &Value, &[Value]) -> Result<bool>;

#[derive(Debug, Clone)]
pub enum Constant {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Arc<Text>),
}

#[derive(Debug)]
pub struct Expr {
    pub kind: ExprKind,
    /// Of the tree below: bounds every recursion over it.
    pub height: u16,
}

#[derive(Debug)]
pub enum ExprKind {
    Constant(Constant),
    Name(Symbol),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    Attribute(Box<Expr>, Arc<str>),
    Item(Box<Expr>, Box<Expr>),
    Slice(Box<Expr>, [Option<Box<Expr>>; 3]),
    Call(Box<Expr>, CallArgs),
    Filter(FilterCall),
    Test(Box<Expr>, TestCall),
    Not(Box<Expr>),
    Negative(Box<Expr>),
    Positive(Box<Expr>),
    Binary(Binary, Box<Expr>, Box<Expr>),
    Compare(Box<Expr>, Vec<(Comparison, Expr)>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Concat(Vec<Expr>),
    Conditional { test: Box<Expr>, then: Box<Expr>, otherwise: Option<Box<Expr>> },
}

#[derive(Debug)]
pub struct FilterCall {
    /// None: the text of a `{% filter %}` or `{% set %}` block.
    pub input: Option<Box<Expr>>,
    pub name: String,
    pub run: Option<FilterFn>,
    pub args: CallArgs,
}

#[derive(Debug)]
pub struct TestCall {
    pub name: String,
    pub run: Option<TestFn>,
    pub args: CallArgs,
}

#[derive(Debug, Default)]
pub struct CallArgs {
    pub positional: Vec<Expr>,
    pub named: Vec<(Arc<str>, Expr)>,
    pub star: Option<Box<Expr>>,
    pub double_star: Option<Box<Expr>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Modulo,
    Power,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    NotIn,
}

#[derive(Debug)]
pub enum Target {
    Name(Symbol),
    /// `ns.x`
    Attribute(Symbol, Arc<str>),
    Tuple(Vec<Target>),
}

#[derive(Debug)]
pub struct Stmt {
    pub kind: StmtKind,
    pub line: u32,
}

#[derive(Debug)]
pub enum StmtKind {
    Text(Arc<Text>),
    Print(Expr),
    For(Arc<ForLoop>),
    /// Conditions in order with their bodies, then what is left.
    If(Vec<(Expr, Vec<Stmt>)>, Vec<Stmt>),
    Set(Target, Expr),
    SetBlock(Target, Option<Expr>, Vec<Stmt>),
    Macro(Arc<Macro>),
    /// The call, and what it gets as `caller`.
    CallBlock(Expr, Arc<Macro>),
    Filter(Expr, Vec<Stmt>),
    With(Vec<(Target, Expr)>, Vec<Stmt>),
    /// Body, and whether it sees the names around it.
    Block(Vec<Stmt>, bool),
    /// A scope of its own and nothing else: `generation`, `autoescape`.
    Scoped(Vec<Stmt>),
    Break,
    Continue,
    /// `include`, `import`, `from`, `extends`: there is nothing to load from.
    Load,
}

#[derive(Debug)]
pub struct ForLoop {
    pub target: Target,
    pub over: Expr,
    pub condition: Option<Expr>,
    pub body: Vec<Stmt>,
    pub otherwise: Vec<Stmt>,
    pub recursive: bool,
}

#[derive(Debug)]
pub struct Macro {
    /// None: of a call block.
    pub name: Option<Arc<str>>,
    pub symbol: Symbol,
    pub parameters: Vec<Parameter>,
    pub body: Vec<Stmt>,
    pub uses_varargs: bool,
    pub uses_kwargs: bool,
    pub uses_caller: bool,
}

#[derive(Debug)]
pub struct Parameter {
    pub symbol: Symbol,
    pub name: Arc<str>,
    pub default: Option<Expr>,
}

impl ExprKind {
    pub fn children<'a>(&'a self, visit: &mut dyn FnMut(&'a Expr)) {
        use ExprKind::*;
        match self {
            Constant(_) | Name(_) => {}
            List(items) | Tuple(items) | Concat(items) => items.iter().for_each(visit),
            Dict(entries) => entries.iter().for_each(|(key, value)| {
                visit(key);
                visit(value);
            }),
            Attribute(a, _) | Not(a) | Negative(a) | Positive(a) => visit(a),
            Item(a, b) | Binary(_, a, b) | And(a, b) | Or(a, b) => {
                visit(a);
                visit(b);
            }
            Slice(a, bounds) => {
                visit(a);
                bounds.iter().flatten().for_each(|bound| visit(bound));
            }
            Call(a, args) => {
                visit(a);
                args.children(visit);
            }
            Filter(call) => {
                call.input.iter().for_each(|input| visit(input));
                call.args.children(visit);
            }
            Test(a, call) => {
                visit(a);
                call.args.children(visit);
            }
            Compare(a, rest) => {
                visit(a);
                rest.iter().for_each(|(_, b)| visit(b));
            }
            Conditional { test, then, otherwise } => {
                visit(test);
                visit(then);
                otherwise.iter().for_each(|e| visit(e));
            }
        }
    }
}

impl CallArgs {
    fn children<'a>(&'a self, visit: &mut dyn FnMut(&'a Expr)) {
        self.positional.iter().for_each(&mut *visit);
        self.named.iter().for_each(|(_, e)| visit(e));
        self.star.iter().chain(&self.double_star).for_each(|e| visit(e));
    }
}
