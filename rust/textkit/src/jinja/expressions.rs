//! Tokens to a tree: expressions. Follows Jinja2's own recursive descent, precedences included
//! (`jinja2/parser.py`).

use std::sync::Arc;

use super::ast::{Binary, CallArgs, Comparison, Constant, Expr, ExprKind, FilterCall, TestCall};
use super::error::Result;
use super::filters;
use super::lexer::Token;
use super::parser::{Parser, MAX_HEIGHT};
use super::tests;
use super::text::{Origin, Text};

impl Parser {
    fn node(&self, kind: ExprKind) -> Result<Expr> {
        let mut height = 0;
        kind.children(&mut |child| height = height.max(child.height));
        if height >= MAX_HEIGHT {
            return self.fail(format!("an expression is nested deeper than {MAX_HEIGHT} levels"));
        }
        Ok(Expr { kind, height: height + 1 })
    }

    pub(super) fn expression(&mut self) -> Result<Expr> {
        self.nested(Self::conditional)
    }

    pub(super) fn expression_without_condition(&mut self) -> Result<Expr> {
        self.nested(Self::or)
    }

    /// Without `brackets`, an empty tuple is no expression. `conditions`: an inline if may stand in
    /// it.
    pub(super) fn tuple(&mut self, conditions: bool, brackets: bool, end: &str) -> Result<Expr> {
        let mut items = Vec::new();
        let mut is_tuple = false;
        loop {
            if !items.is_empty() {
                self.expect_op(",")?;
            }
            let ends = matches!(self.token(), Token::PrintEnd | Token::BlockEnd);
            if ends || self.is_op(")") || (!end.is_empty() && self.is_name(end)) {
                break;
            }
            items.push(if conditions {
                self.expression()?
            } else {
                self.expression_without_condition()?
            });
            if !self.is_op(",") {
                break;
            }
            is_tuple = true;
        }
        if is_tuple || brackets && items.is_empty() {
            return self.node(ExprKind::Tuple(items));
        }
        match items.pop() {
            Some(item) => Ok(item),
            None => self.unexpected("an expression"),
        }
    }

    fn conditional(&mut self) -> Result<Expr> {
        let mut then = self.or()?;
        while self.skip_name("if") {
            let test = Box::new(self.or()?);
            let otherwise = if self.skip_name("else") {
                Some(Box::new(self.nested(Self::conditional)?))
            } else {
                None
            };
            let then_box = Box::new(then);
            then = self.node(ExprKind::Conditional { test, then: then_box, otherwise })?;
        }
        Ok(then)
    }

    fn or(&mut self) -> Result<Expr> {
        let mut left = self.and()?;
        while self.skip_name("or") {
            let right = self.and()?;
            left = self.node(ExprKind::Or(Box::new(left), Box::new(right)))?;
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Expr> {
        let mut left = self.not()?;
        while self.skip_name("and") {
            let right = self.not()?;
            left = self.node(ExprKind::And(Box::new(left), Box::new(right)))?;
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Expr> {
        if self.skip_name("not") {
            let inner = self.nested(Self::not)?;
            return self.node(ExprKind::Not(Box::new(inner)));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Expr> {
        let first = self.sum()?;
        let mut rest = Vec::new();
        loop {
            let comparison = match self.token() {
                Token::Op("==") => Comparison::Equal,
                Token::Op("!=") => Comparison::NotEqual,
                Token::Op("<") => Comparison::Less,
                Token::Op("<=") => Comparison::LessEqual,
                Token::Op(">") => Comparison::Greater,
                Token::Op(">=") => Comparison::GreaterEqual,
                Token::Name(name) if name == "in" => Comparison::In,
                Token::Name(name)
                    if name == "not" && matches!(self.look(), Token::Name(n) if n == "in") =>
                {
                    self.next();
                    Comparison::NotIn
                }
                _ => break,
            };
            self.next();
            rest.push((comparison, self.sum()?));
        }
        if rest.is_empty() {
            return Ok(first);
        }
        self.node(ExprKind::Compare(Box::new(first), rest))
    }

    fn binary(
        &mut self,
        operators: &[(&str, Binary)],
        operand: fn(&mut Self) -> Result<Expr>,
    ) -> Result<Expr> {
        let mut left = operand(self)?;
        while let Some((_, operator)) = operators.iter().find(|(op, _)| self.is_op(op)) {
            self.next();
            let right = operand(self)?;
            left = self.node(ExprKind::Binary(*operator, Box::new(left), Box::new(right)))?;
        }
        Ok(left)
    }

    fn sum(&mut self) -> Result<Expr> {
        self.binary(&[("+", Binary::Add), ("-", Binary::Subtract)], Self::concat)
    }

    fn concat(&mut self) -> Result<Expr> {
        let first = self.product()?;
        if !self.is_op("~") {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.skip_op("~") {
            parts.push(self.product()?);
        }
        self.node(ExprKind::Concat(parts))
    }

    fn product(&mut self) -> Result<Expr> {
        let operators = [
            ("*", Binary::Multiply),
            ("/", Binary::Divide),
            ("//", Binary::FloorDivide),
            ("%", Binary::Modulo),
        ];
        self.binary(&operators, Self::power)
    }

    /// From the left, as in Jinja2 (not as in Python).
    fn power(&mut self) -> Result<Expr> {
        self.binary(&[("**", Binary::Power)], |parser| parser.unary(true))
    }

    fn unary(&mut self, with_filters: bool) -> Result<Expr> {
        let mut node = if self.skip_op("-") {
            let inner = self.nested(|parser| parser.unary(false))?;
            self.node(ExprKind::Negative(Box::new(inner)))?
        } else if self.skip_op("+") {
            let inner = self.nested(|parser| parser.unary(false))?;
            self.node(ExprKind::Positive(Box::new(inner)))?
        } else {
            self.primary()?
        };
        node = self.postfix(node)?;
        if with_filters {
            node = self.filters_and_tests(node)?;
        }
        Ok(node)
    }

    fn constant(&self, constant: Constant) -> Result<Expr> {
        self.node(ExprKind::Constant(constant))
    }

    pub(super) fn primary(&mut self) -> Result<Expr> {
        match self.token().clone() {
            Token::Name(name) => {
                self.next();
                match name.as_str() {
                    "true" | "True" => self.constant(Constant::Bool(true)),
                    "false" | "False" => self.constant(Constant::Bool(false)),
                    "none" | "None" => self.constant(Constant::None),
                    _ => {
                        let symbol = self.symbol(&name);
                        self.node(ExprKind::Name(symbol))
                    }
                }
            }
            Token::Str(mut text) => {
                self.next();
                while let Token::Str(more) = self.token() {
                    text.push_str(more);
                    self.next();
                }
                let text = Arc::new(Text::of(text, Origin::Template));
                self.literals.push(Arc::clone(&text));
                self.constant(Constant::Str(text))
            }
            Token::Int(value) => {
                self.next();
                self.constant(Constant::Int(value))
            }
            Token::Float(value) => {
                self.next();
                self.constant(Constant::Float(value))
            }
            Token::Op("(") => {
                self.next();
                let node = self.tuple(true, true, "")?;
                self.expect_op(")")?;
                Ok(node)
            }
            Token::Op("[") => {
                self.next();
                let items = self.items_until("]")?;
                self.node(ExprKind::List(items))
            }
            Token::Op("{") => self.dict(),
            _ => self.unexpected("an expression"),
        }
    }

    fn items_until(&mut self, end: &str) -> Result<Vec<Expr>> {
        let mut items = Vec::new();
        while !self.is_op(end) {
            if !items.is_empty() {
                self.expect_op(",")?;
                if self.is_op(end) {
                    break;
                }
            }
            items.push(self.expression()?);
        }
        self.expect_op(end)?;
        Ok(items)
    }

    fn dict(&mut self) -> Result<Expr> {
        self.expect_op("{")?;
        let mut entries = Vec::new();
        while !self.is_op("}") {
            if !entries.is_empty() {
                self.expect_op(",")?;
                if self.is_op("}") {
                    break;
                }
            }
            let key = self.expression()?;
            self.expect_op(":")?;
            entries.push((key, self.expression()?));
        }
        self.expect_op("}")?;
        self.node(ExprKind::Dict(entries))
    }

    fn postfix(&mut self, mut node: Expr) -> Result<Expr> {
        loop {
            node = match self.token() {
                Token::Op("." | "[") => self.subscript(node)?,
                Token::Op("(") => self.call(node)?,
                _ => return Ok(node),
            };
        }
    }

    fn filters_and_tests(&mut self, mut node: Expr) -> Result<Expr> {
        loop {
            node = match self.token() {
                Token::Op("|") => {
                    self.next();
                    self.filter(Some(node))?
                }
                Token::Name(name) if name == "is" => self.test(node)?,
                Token::Op("(") => self.call(node)?,
                _ => return Ok(node),
            };
        }
    }

    fn subscript(&mut self, object: Expr) -> Result<Expr> {
        let object = Box::new(object);
        if self.skip_op(".") {
            return match self.next() {
                Token::Name(name) => self.node(ExprKind::Attribute(object, name.into())),
                Token::Int(index) => {
                    let index = self.constant(Constant::Int(index))?;
                    self.node(ExprKind::Item(object, Box::new(index)))
                }
                _ => self.fail("expected a name or a number after '.'"),
            };
        }
        self.expect_op("[")?;
        let mut bounds = [None, None, None];
        let mut colons = 0;
        let mut items = Vec::new();
        while !self.is_op("]") {
            if self.skip_op(":") {
                colons += 1;
                if colons > 2 {
                    return self.fail("a slice has at most two colons");
                }
            } else if self.skip_op(",") {
                continue;
            } else if colons > 0 || self.look_is_slice() {
                bounds[colons] = Some(Box::new(self.expression()?));
            } else {
                let item = self.expression()?;
                if self.is_op(":") {
                    bounds[0] = Some(Box::new(item));
                } else {
                    items.push(item);
                }
            }
        }
        self.expect_op("]")?;
        if colons > 0 {
            return self.node(ExprKind::Slice(object, bounds));
        }
        let item = match items.len() {
            0 => return self.fail("expected an index between '[' and ']'"),
            1 => items.remove(0),
            _ => self.node(ExprKind::Tuple(items))?,
        };
        self.node(ExprKind::Item(object, Box::new(item)))
    }

    fn look_is_slice(&self) -> bool {
        matches!(self.look(), Token::Op(":"))
    }

    fn call(&mut self, callee: Expr) -> Result<Expr> {
        let args = self.call_args()?;
        self.node(ExprKind::Call(Box::new(callee), args))
    }

    fn call_args(&mut self) -> Result<CallArgs> {
        self.expect_op("(")?;
        let mut args = CallArgs::default();
        let mut first = true;
        while !self.is_op(")") {
            if !first {
                self.expect_op(",")?;
                if self.is_op(")") {
                    break;
                }
            }
            first = false;
            let named =
                matches!(self.token(), Token::Name(_)) && matches!(self.look(), Token::Op("="));
            let no_stars = args.star.is_none() && args.double_star.is_none();
            if self.is_op("*") && no_stars {
                self.next();
                args.star = Some(Box::new(self.expression()?));
            } else if self.is_op("**") && args.double_star.is_none() {
                self.next();
                args.double_star = Some(Box::new(self.expression()?));
            } else if named && args.double_star.is_none() {
                let name = self.expect_any_name()?;
                self.expect_op("=")?;
                args.named.push((name.into(), self.expression()?));
            } else if no_stars && args.named.is_empty() {
                args.positional.push(self.expression()?);
            } else {
                return self.fail("arguments by position stand before those by name");
            }
        }
        self.expect_op(")")?;
        Ok(args)
    }

    fn dotted_name(&mut self) -> Result<String> {
        let mut name = self.expect_any_name()?;
        while self.skip_op(".") {
            name.push('.');
            name.push_str(&self.expect_any_name()?);
        }
        Ok(name)
    }

    /// After the '|': a filter and its arguments.
    pub(super) fn filter(&mut self, input: Option<Expr>) -> Result<Expr> {
        let name = self.dotted_name()?;
        let args = if self.is_op("(") { self.call_args()? } else { CallArgs::default() };
        let run = filters::by_name(&name);
        let input = input.map(Box::new);
        self.node(ExprKind::Filter(FilterCall { input, name, run, args }))
    }

    fn test(&mut self, input: Expr) -> Result<Expr> {
        self.next();
        let negated = self.skip_name("not");
        let name = self.dotted_name()?;
        let args = match self.token() {
            Token::Op("(") => self.call_args()?,
            Token::Name(word) if matches!(word.as_str(), "else" | "or" | "and") => {
                CallArgs::default()
            }
            Token::Name(word) if word == "is" => {
                return self.fail("tests cannot be chained with 'is'");
            }
            Token::Name(_)
            | Token::Str(_)
            | Token::Int(_)
            | Token::Float(_)
            | Token::Op("[" | "{") => {
                let argument = self.primary()?;
                let argument = self.postfix(argument)?;
                CallArgs { positional: vec![argument], ..CallArgs::default() }
            }
            _ => CallArgs::default(),
        };
        let run = tests::by_name(&name);
        let call = TestCall { name, run, args };
        let test = self.node(ExprKind::Test(Box::new(input), call))?;
        if negated {
            return self.node(ExprKind::Not(Box::new(test)));
        }
        Ok(test)
    }
}
