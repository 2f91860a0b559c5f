//! Tokens to a tree: statements.

use std::sync::Arc;

use super::ast::{Expr, ExprKind, ForLoop, Macro, Parameter, Stmt, StmtKind, Target};
use super::error::Result;
use super::lexer::Token;
use super::parser::{Parser, CALLER, KWARGS, LOOP, VARARGS};
use super::text::{Origin, Text};

impl Parser {
    /// Up to a block that begins with one of `ends` (which is left to be read), or to the end of
    /// the template where there are none.
    pub(super) fn parse_body(&mut self, ends: &[&str]) -> Result<Vec<Stmt>> {
        let mut body = Vec::new();
        loop {
            let line = self.line();
            match self.token().clone() {
                Token::Data(text) => {
                    self.next();
                    let text = Arc::new(Text::of(text, Origin::Template));
                    self.literals.push(Arc::clone(&text));
                    body.push(Stmt { kind: StmtKind::Text(text), line });
                }
                Token::PrintBegin => {
                    self.next();
                    let printed = self.tuple(true, false, "")?;
                    self.expect_token(&Token::PrintEnd, "'}}'")?;
                    body.push(Stmt { kind: StmtKind::Print(printed), line });
                }
                Token::BlockBegin => {
                    self.next();
                    if ends.iter().any(|end| self.is_name(end)) {
                        return Ok(body);
                    }
                    let statement = self.nested(|parser| parser.statement(&mut body, ends));
                    statement?;
                    self.expect_token(&Token::BlockEnd, "'%}'")?;
                }
                Token::End if ends.is_empty() => return Ok(body),
                _ => {
                    let end = ends.iter().find(|end| end.starts_with("end"));
                    let wanted = end.copied().unwrap_or("text");
                    return self.unexpected(&format!("'{wanted}'"));
                }
            }
        }
    }

    /// The body of a block: `%}` and all up to one of `ends`.
    fn block_body(&mut self, ends: &[&str]) -> Result<Vec<Stmt>> {
        self.skip_op(":");
        self.expect_token(&Token::BlockEnd, "'%}'")?;
        self.parse_body(ends)
    }

    fn whole_block(&mut self, end: &str) -> Result<Vec<Stmt>> {
        let body = self.block_body(&[end])?;
        self.next();
        Ok(body)
    }

    /// A body that runs as a function of its own, where no loop around it can be left.
    fn function_block(&mut self, end: &str) -> Result<Vec<Stmt>> {
        let loops = std::mem::take(&mut self.loops);
        let body = self.whole_block(end);
        self.loops = loops;
        body
    }

    fn statement(&mut self, body: &mut Vec<Stmt>, ends: &[&str]) -> Result<()> {
        let line = self.line();
        let name = self.expect_any_name()?;
        let kind = match name.as_str() {
            "for" => self.for_loop()?,
            "if" => self.if_block()?,
            "set" => self.set()?,
            "macro" => self.macro_block()?,
            "call" => self.call_block()?,
            "filter" => {
                let filter = self.filter_chain()?;
                StmtKind::Filter(filter, self.whole_block("endfilter")?)
            }
            "with" => self.with()?,
            "block" => self.named_block()?,
            "generation" => StmtKind::Scoped(self.function_block("endgeneration")?),
            "autoescape" => {
                self.expression()?;
                StmtKind::Scoped(self.whole_block("endautoescape")?)
            }
            "print" => {
                while *self.token() != Token::BlockEnd {
                    let printed = self.expression()?;
                    body.push(Stmt { kind: StmtKind::Print(printed), line });
                    if !self.skip_op(",") {
                        break;
                    }
                }
                return Ok(());
            }
            "break" | "continue" if self.loops == 0 => {
                return self.fail(format!("'{name}' stands outside of a loop"));
            }
            "break" => StmtKind::Break,
            "continue" => StmtKind::Continue,
            "include" | "import" | "from" | "extends" => {
                while !matches!(self.token(), Token::BlockEnd | Token::End) {
                    self.next();
                }
                StmtKind::Load
            }
            _ => {
                let open = ends.last().map(|end| format!(" ('{end}' is expected next)"));
                return self
                    .fail(format!("'{name}' is not a statement{}", open.unwrap_or_default()));
            }
        };
        body.push(Stmt { kind, line });
        Ok(())
    }

    fn name_target(&mut self) -> Result<String> {
        let name = self.expect_any_name()?;
        if matches!(name.as_str(), "true" | "false" | "none" | "True" | "False" | "None") {
            return self.fail(format!("'{name}' cannot be set"));
        }
        Ok(name)
    }

    fn single_target(&mut self, namespaces: bool) -> Result<Target> {
        if self.skip_op("(") {
            let target = self.nested(|parser| parser.target(namespaces))?;
            self.expect_op(")")?;
            return Ok(target);
        }
        let name = self.name_target()?;
        let symbol = self.symbol(&name);
        if namespaces && self.skip_op(".") {
            let attribute = self.expect_any_name()?;
            return Ok(Target::Attribute(symbol, attribute.into()));
        }
        Ok(Target::Name(symbol))
    }

    fn target(&mut self, namespaces: bool) -> Result<Target> {
        let first = self.single_target(namespaces)?;
        if !self.is_op(",") {
            return Ok(first);
        }
        let mut targets = vec![first];
        while self.skip_op(",") {
            if !matches!(self.token(), Token::Name(name) if name != "in") && !self.is_op("(") {
                break;
            }
            targets.push(self.single_target(namespaces)?);
        }
        Ok(Target::Tuple(targets))
    }

    fn for_loop(&mut self) -> Result<StmtKind> {
        let target = self.target(false)?;
        if matches!(target, Target::Name(LOOP)) {
            return self.fail("'loop' cannot be the variable of a loop");
        }
        if !self.skip_name("in") {
            return self.unexpected("'in'");
        }
        let over = self.tuple(false, false, "recursive")?;
        let condition = if self.skip_name("if") { Some(self.expression()?) } else { None };
        let recursive = self.skip_name("recursive");
        self.loops += 1;
        let body = self.block_body(&["endfor", "else"]);
        self.loops -= 1;
        let body = body?;
        let otherwise = if self.skip_name("else") {
            self.whole_block("endfor")?
        } else {
            self.next();
            Vec::new()
        };
        let for_loop = ForLoop { target, over, condition, body, otherwise, recursive };
        Ok(StmtKind::For(Arc::new(for_loop)))
    }

    fn if_block(&mut self) -> Result<StmtKind> {
        let mut branches = Vec::new();
        loop {
            let condition = self.tuple(false, false, "")?;
            branches.push((condition, self.block_body(&["elif", "else", "endif"])?));
            if self.skip_name("elif") {
                continue;
            }
            let otherwise = if self.skip_name("else") {
                self.whole_block("endif")?
            } else {
                self.next();
                Vec::new()
            };
            return Ok(StmtKind::If(branches, otherwise));
        }
    }

    fn set(&mut self) -> Result<StmtKind> {
        let target = self.target(true)?;
        if self.skip_op("=") {
            return Ok(StmtKind::Set(target, self.tuple(true, false, "")?));
        }
        let filter = if self.skip_op("|") { Some(self.filter_chain()?) } else { None };
        Ok(StmtKind::SetBlock(target, filter, self.whole_block("endset")?))
    }

    /// Filters over the text of a block.
    fn filter_chain(&mut self) -> Result<Expr> {
        let mut filter = self.filter(None)?;
        while self.skip_op("|") {
            filter = self.filter(Some(filter))?;
        }
        Ok(filter)
    }

    fn parameters(&mut self) -> Result<Vec<Parameter>> {
        let mut parameters: Vec<Parameter> = Vec::new();
        self.expect_op("(")?;
        while !self.is_op(")") {
            if !parameters.is_empty() {
                self.expect_op(",")?;
            }
            let name = self.name_target()?;
            let symbol = self.symbol(&name);
            let default = if self.skip_op("=") { Some(self.expression()?) } else { None };
            if default.is_none() && parameters.last().is_some_and(|p| p.default.is_some()) {
                return self.fail("a parameter without default follows one with a default");
            }
            parameters.push(Parameter { symbol, name: name.into(), default });
        }
        self.expect_op(")")?;
        Ok(parameters)
    }

    fn macro_block(&mut self) -> Result<StmtKind> {
        let name = self.name_target()?;
        let symbol = self.symbol(&name);
        let parameters = self.parameters()?;
        let code = self.macro_body(Some(name.into()), symbol, parameters, "endmacro")?;
        Ok(StmtKind::Macro(Arc::new(code)))
    }

    fn macro_body(
        &mut self,
        name: Option<Arc<str>>,
        symbol: u32,
        parameters: Vec<Parameter>,
        end: &str,
    ) -> Result<Macro> {
        let before = self.uses;
        let body = self.function_block(end)?;
        let uses = |symbol: u32| {
            let index = symbol as usize;
            self.uses[index] > before[index] && !parameters.iter().any(|p| p.symbol == symbol)
        };
        Ok(Macro {
            uses_varargs: uses(VARARGS),
            uses_kwargs: uses(KWARGS),
            uses_caller: uses(CALLER),
            name,
            symbol,
            parameters,
            body,
        })
    }

    fn call_block(&mut self) -> Result<StmtKind> {
        let parameters = if self.is_op("(") { self.parameters()? } else { Vec::new() };
        let call = self.expression()?;
        if !matches!(call.kind, ExprKind::Call(..)) {
            return self.unexpected("a call");
        }
        let body = self.macro_body(None, CALLER, parameters, "endcall")?;
        Ok(StmtKind::CallBlock(call, Arc::new(body)))
    }

    fn with(&mut self) -> Result<StmtKind> {
        let mut values = Vec::new();
        while *self.token() != Token::BlockEnd {
            if !values.is_empty() {
                self.expect_op(",")?;
            }
            let target = self.target(false)?;
            self.expect_op("=")?;
            values.push((target, self.expression()?));
        }
        Ok(StmtKind::With(values, self.whole_block("endwith")?))
    }

    fn named_block(&mut self) -> Result<StmtKind> {
        let name = self.expect_any_name()?;
        let scoped = self.skip_name("scoped");
        self.skip_name("required");
        let body = self.function_block("endblock")?;
        self.skip_name(&name);
        Ok(StmtKind::Block(body, scoped))
    }
}
