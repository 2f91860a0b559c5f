//! Statements to text.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::ast::{Expr, ExprKind, ForLoop, Macro as MacroCode, Stmt, StmtKind, Target};
use super::error::{fail, Result};
use super::eval::Interpreter;
use super::parser::LOOP;
use super::print;
use super::scope::Scope;
use super::text::Text;
use super::value::{Loop, Macro, Value};

/// What follows a statement.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    Next,
    Break,
    Continue,
}

impl Interpreter<'_> {
    pub fn run(&mut self, body: &[Stmt], scope: &Rc<Scope>, out: &mut Text) -> Result<Flow> {
        for statement in body {
            self.meter.enter()?;
            let flow = self.run_one(statement, scope, out).map_err(|e| e.at(statement.line));
            self.meter.leave();
            let flow = flow?;
            self.meter.check_output(out.len())?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    /// The text of a body, which cannot be left by break or continue.
    pub(super) fn capture_text(&mut self, body: &[Stmt], scope: &Rc<Scope>) -> Result<Value> {
        let mut text = Text::new();
        self.run(body, scope, &mut text)?;
        self.meter.reserve(text.len())?;
        Ok(Value::text(text))
    }

    fn run_one(&mut self, statement: &Stmt, scope: &Rc<Scope>, out: &mut Text) -> Result<Flow> {
        match &statement.kind {
            StmtKind::Text(text) => out.push_text(text),
            StmtKind::Print(printed) => {
                let value = self.eval(printed, scope)?;
                print::write(self, &value, out)?;
            }
            StmtKind::For(code) => {
                let over = self.eval(&code.over, scope)?;
                return self.run_loop(code, &over, scope, 0, out);
            }
            StmtKind::If(branches, otherwise) => {
                for (condition, body) in branches {
                    if self.eval(condition, scope)?.truth() {
                        return self.run(body, scope, out);
                    }
                }
                return self.run(otherwise, scope, out);
            }
            StmtKind::Set(target, value) => {
                let value = self.eval(value, scope)?;
                self.assign(target, value, scope)?;
            }
            StmtKind::SetBlock(target, filter, body) => {
                let mut text = self.capture_text(body, &Scope::inside(scope))?;
                if let Some(filter) = filter {
                    text = self.filter_block(filter, text, scope)?;
                }
                self.assign(target, text, scope)?;
            }
            StmtKind::Macro(code) => {
                let defined = self.make_macro(code, scope)?;
                scope.set(code.symbol, defined);
            }
            StmtKind::CallBlock(call, body) => self.run_call_block(call, body, scope, out)?,
            StmtKind::Filter(filter, body) => {
                let inner = Scope::inside(scope);
                let text = self.capture_text(body, &inner)?;
                let filtered = self.filter_block(filter, text, &inner)?;
                print::write(self, &filtered, out)?;
            }
            StmtKind::With(values, body) => {
                let inner = Scope::inside(scope);
                for (target, value) in values {
                    let value = self.eval(value, scope)?;
                    self.assign(target, value, &inner)?;
                }
                return self.run(body, &inner, out);
            }
            StmtKind::Block(body, scoped) => {
                let parent = if *scoped { Rc::clone(scope) } else { Rc::clone(&self.root) };
                return self.run(body, &Scope::inside(&parent), out);
            }
            StmtKind::Scoped(body) => return self.run(body, &Scope::inside(scope), out),
            StmtKind::Break => return Ok(Flow::Break),
            StmtKind::Continue => return Ok(Flow::Continue),
            StmtKind::Load => fail!("a chat template cannot load other templates"),
        }
        Ok(Flow::Next)
    }

    fn make_macro(&mut self, code: &Arc<MacroCode>, scope: &Rc<Scope>) -> Result<Value> {
        let scope = self.capture(scope)?;
        Ok(Value::Macro(Rc::new(Macro { code: Arc::clone(code), scope })))
    }

    fn filter_block(&mut self, filter: &Expr, text: Value, scope: &Rc<Scope>) -> Result<Value> {
        self.block_text = Some(text);
        self.eval(filter, scope)
    }

    fn run_call_block(
        &mut self,
        call: &Expr,
        body: &Arc<MacroCode>,
        scope: &Rc<Scope>,
        out: &mut Text,
    ) -> Result<()> {
        let ExprKind::Call(callee, args) = &call.kind else { fail!("a call block calls nothing") };
        let callee = self.eval(callee, scope)?;
        let mut args = self.arguments(args, scope)?;
        args.named.push(("caller".into(), self.make_macro(body, scope)?));
        let value = self.call(&callee, args)?;
        print::write(self, &value, out)
    }

    pub(super) fn assign(
        &mut self,
        target: &Target,
        value: Value,
        scope: &Rc<Scope>,
    ) -> Result<()> {
        match target {
            Target::Name(symbol) => scope.set(*symbol, value),
            Target::Attribute(symbol, attribute) => match scope.get(*symbol) {
                Some(Value::Namespace(index)) => {
                    self.set_in_namespace(index, attribute, value);
                }
                _ => fail!(
                    "'{}' is no namespace, so its attributes cannot be set",
                    self.names.text(*symbol)
                ),
            },
            Target::Tuple(targets) => {
                let items = value.items()?;
                if items.len() != targets.len() {
                    let (want, have) = (targets.len(), items.len());
                    fail!("cannot take apart {have} values into {want} names");
                }
                for (target, item) in targets.iter().zip(items.iter()) {
                    self.assign(target, item.clone(), scope)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn set_in_namespace(&mut self, index: usize, name: &Arc<str>, value: Value) {
        let namespace = &mut self.namespaces[index];
        match namespace.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => namespace.push((Arc::clone(name), value)),
        }
    }

    pub(super) fn run_loop(
        &mut self,
        code: &Arc<ForLoop>,
        over: &Value,
        scope: &Rc<Scope>,
        depth: usize,
        out: &mut Text,
    ) -> Result<Flow> {
        let mut items = over.items()?;
        self.meter.work(items.len() / 4)?;
        if let Some(condition) = &code.condition {
            let mut kept = Vec::new();
            for item in items.iter() {
                let inner = Scope::inside(scope);
                self.assign(&code.target, item.clone(), &inner)?;
                if self.eval(condition, &inner)?.truth() {
                    kept.push(item.clone());
                }
            }
            items = Value::list(kept)?.items()?;
        }
        if items.is_empty() {
            return self.run(&code.otherwise, &Scope::inside(scope), out);
        }
        let recursion =
            if code.recursive { Some((Arc::clone(code), self.capture(scope)?)) } else { None };
        let state = Rc::new(Loop {
            items: Rc::clone(&items),
            index: Cell::new(0),
            depth,
            changed: RefCell::new(None),
            recursion,
        });
        for (index, item) in items.iter().enumerate() {
            self.meter.work(4)?;
            state.index.set(index);
            let inner = Scope::inside(scope);
            inner.set(LOOP, Value::Loop(Rc::clone(&state)));
            self.assign(&code.target, item.clone(), &inner)?;
            if self.run(&code.body, &inner, out)? == Flow::Break {
                break;
            }
        }
        Ok(Flow::Next)
    }
}
