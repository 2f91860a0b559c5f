//! Expressions to values. The interpreter walks the tree; every step is metered.

use std::rc::Rc;
use std::sync::Arc;

use super::ast::{CallArgs, Comparison, Constant, Expr, ExprKind, FilterCall, TestCall};
use super::calls::Arguments;
use super::error::{fail, Result};
use super::limits::{Limits, Meter};
use super::members::{get_attribute, get_item, get_slice};
use super::methods;
use super::ops;
use super::parser::Names;
use super::print;
use super::scope::{Scope, Symbol};
use super::text::{Origin, Text};
use super::value::{Dict, Function, Value};

/// Formats the present local time as strftime does; None where it cannot.
pub type Clock<'a> = &'a dyn Fn(&str) -> Option<String>;

/// One rendering under way.
pub struct Interpreter<'a> {
    pub names: &'a Names,
    pub clock: Clock<'a>,
    pub meter: Meter,
    pub namespaces: Vec<Vec<(Arc<str>, Value)>>,
    pub root: Rc<Scope>,
    /// The text of the filter block that is being closed.
    pub(super) block_text: Option<Value>,
    /// Scopes that macros keep, and that may keep these macros.
    captured: Vec<Rc<Scope>>,
}

impl Drop for Interpreter<'_> {
    fn drop(&mut self) {
        for scope in &self.captured {
            scope.clear();
        }
        self.root.clear();
    }
}

impl<'a> Interpreter<'a> {
    pub fn new(names: &'a Names, clock: Clock<'a>, limits: Limits) -> Interpreter<'a> {
        let interpreter = Interpreter {
            names,
            clock,
            meter: Meter::new(limits),
            namespaces: Vec::new(),
            root: Scope::root(),
            block_text: None,
            captured: Vec::new(),
        };
        let functions = [
            ("range", Function::Range),
            ("dict", Function::Dict),
            ("namespace", Function::Namespace),
            ("cycler", Function::Cycler),
            ("joiner", Function::Joiner),
            ("raise_exception", Function::RaiseException),
            ("strftime_now", Function::StrftimeNow),
        ];
        for (name, function) in functions {
            interpreter.define(name, Value::Function(function));
        }
        interpreter
    }

    /// Gives the template a variable, if it names it at all.
    pub fn define(&self, name: &str, value: Value) {
        if let Some(symbol) = self.names.find(name) {
            self.root.set(symbol, value);
        }
    }

    /// A macro is about to keep `scope`.
    pub(super) fn capture(&mut self, scope: &Rc<Scope>) -> Result<Rc<Scope>> {
        self.meter.work(16)?;
        if !self.captured.last().is_some_and(|last| Rc::ptr_eq(last, scope)) {
            self.captured.push(Rc::clone(scope));
        }
        Ok(Rc::clone(scope))
    }

    pub fn eval(&mut self, expr: &Expr, scope: &Rc<Scope>) -> Result<Value> {
        self.meter.enter()?;
        let value = self.eval_kind(&expr.kind, scope);
        self.meter.leave();
        value
    }

    fn eval_kind(&mut self, kind: &ExprKind, scope: &Rc<Scope>) -> Result<Value> {
        match kind {
            ExprKind::Constant(constant) => Ok(constant_value(constant)),
            ExprKind::Name(symbol) => Ok(self.lookup(*symbol, scope)),
            ExprKind::List(items) => Value::list(self.eval_all(items, scope)?),
            ExprKind::Tuple(items) => Value::tuple(self.eval_all(items, scope)?),
            ExprKind::Dict(entries) => {
                let mut dict = Dict::default();
                for (key, value) in entries {
                    let key = self.eval(key, scope)?;
                    dict.insert(key, self.eval(value, scope)?)?;
                }
                dict.finish()
            }
            ExprKind::Attribute(object, name) => {
                let object = self.eval(object, scope)?;
                get_attribute(self, &object, name)
            }
            ExprKind::Item(object, key) => {
                let object = self.eval(object, scope)?;
                let key = self.eval(key, scope)?;
                get_item(self, &object, &key)
            }
            ExprKind::Slice(object, bounds) => self.eval_slice(object, bounds, scope),
            ExprKind::Call(callee, args) => self.eval_call(callee, args, scope),
            ExprKind::Filter(call) => self.eval_filter(call, scope),
            ExprKind::Test(input, call) => self.eval_test(input, call, scope),
            ExprKind::Not(inner) => Ok(Value::Bool(!self.eval(inner, scope)?.truth())),
            ExprKind::Negative(inner) => ops::negative(&self.eval(inner, scope)?),
            ExprKind::Positive(inner) => ops::positive(&self.eval(inner, scope)?),
            ExprKind::Binary(operator, left, right) => {
                let left = self.eval(left, scope)?;
                let right = self.eval(right, scope)?;
                ops::binary(self, *operator, &left, &right)
            }
            ExprKind::Compare(first, rest) => self.eval_comparison(first, rest, scope),
            ExprKind::And(left, right) => {
                let left = self.eval(left, scope)?;
                if left.truth() {
                    self.eval(right, scope)
                } else {
                    Ok(left)
                }
            }
            ExprKind::Or(left, right) => {
                let left = self.eval(left, scope)?;
                if left.truth() {
                    Ok(left)
                } else {
                    self.eval(right, scope)
                }
            }
            ExprKind::Concat(parts) => {
                let mut text = Text::new();
                for part in self.eval_all(parts, scope)? {
                    print::write(self, &part, &mut text)?;
                }
                Ok(Value::text(text))
            }
            ExprKind::Conditional { test, then, otherwise } => {
                if self.eval(test, scope)?.truth() {
                    return self.eval(then, scope);
                }
                match otherwise {
                    Some(otherwise) => self.eval(otherwise, scope),
                    None => Ok(Value::undefined("the else of an inline if")),
                }
            }
        }
    }

    fn lookup(&self, symbol: Symbol, scope: &Rc<Scope>) -> Value {
        scope.get(symbol).unwrap_or_else(|| Value::Undefined(Arc::clone(self.names.text(symbol))))
    }

    fn eval_all(&mut self, exprs: &[Expr], scope: &Rc<Scope>) -> Result<Vec<Value>> {
        exprs.iter().map(|expr| self.eval(expr, scope)).collect()
    }

    fn eval_slice(
        &mut self,
        object: &Expr,
        bounds: &[Option<Box<Expr>>; 3],
        scope: &Rc<Scope>,
    ) -> Result<Value> {
        let object = self.eval(object, scope)?;
        let mut values = [Value::None, Value::None, Value::None];
        for (value, bound) in values.iter_mut().zip(bounds) {
            if let Some(bound) = bound {
                *value = self.eval(bound, scope)?;
            }
        }
        get_slice(self, &object, &values)
    }

    fn eval_call(&mut self, callee: &Expr, args: &CallArgs, scope: &Rc<Scope>) -> Result<Value> {
        if let ExprKind::Attribute(object, name) = &callee.kind {
            let object = self.eval(object, scope)?;
            if methods::exists(&object, name) {
                let args = self.arguments(args, scope)?;
                return methods::call(self, &object, name, args);
            }
            let callee = get_attribute(self, &object, name)?;
            let args = self.arguments(args, scope)?;
            return self.call(&callee, args);
        }
        let callee = self.eval(callee, scope)?;
        let args = self.arguments(args, scope)?;
        self.call(&callee, args)
    }

    pub(super) fn arguments(&mut self, args: &CallArgs, scope: &Rc<Scope>) -> Result<Arguments> {
        let mut positional = self.eval_all(&args.positional, scope)?;
        let mut named = Vec::with_capacity(args.named.len());
        for (name, value) in &args.named {
            named.push((Arc::clone(name), self.eval(value, scope)?));
        }
        if let Some(star) = &args.star {
            positional.extend(self.eval(star, scope)?.items()?.iter().cloned());
        }
        if let Some(stars) = &args.double_star {
            match self.eval(stars, scope)? {
                Value::Dict(dict) => {
                    for (key, value) in dict.entries() {
                        let Some(key) = key.as_str() else { fail!("keywords must be strings") };
                        named.push((key.into(), value.clone()));
                    }
                }
                other => fail!("argument after ** must be a mapping, not {}", other.type_name()),
            }
        }
        self.meter.work(positional.len() / 8)?;
        Ok(Arguments { positional, named })
    }

    fn eval_filter(&mut self, call: &FilterCall, scope: &Rc<Scope>) -> Result<Value> {
        let input = match &call.input {
            Some(input) => self.eval(input, scope)?,
            None => self.block_text.take().unwrap_or(Value::None),
        };
        let Some(run) = call.run else { fail!("no filter is named '{}'", call.name) };
        let args = self.arguments(&call.args, scope)?;
        run(self, input, args)
    }

    fn eval_test(&mut self, input: &Expr, call: &TestCall, scope: &Rc<Scope>) -> Result<Value> {
        let input = self.eval(input, scope)?;
        let Some(run) = call.run else { fail!("no test is named '{}'", call.name) };
        let args = self.arguments(&call.args, scope)?;
        if let Some((name, _)) = args.named.first() {
            fail!("test '{}' has no argument '{name}'", call.name);
        }
        Ok(Value::Bool(run(self, &input, &args.positional)?))
    }

    fn eval_comparison(
        &mut self,
        first: &Expr,
        rest: &[(Comparison, Expr)],
        scope: &Rc<Scope>,
    ) -> Result<Value> {
        let mut left = self.eval(first, scope)?;
        for (comparison, right) in rest {
            let right = self.eval(right, scope)?;
            if !ops::compare(self, *comparison, &left, &right)? {
                return Ok(Value::Bool(false));
            }
            left = right;
        }
        Ok(Value::Bool(true))
    }
}

fn constant_value(constant: &Constant) -> Value {
    match constant {
        Constant::None => Value::None,
        Constant::Bool(value) => Value::Bool(*value),
        Constant::Int(value) => Value::int(*value),
        Constant::Float(value) => Value::Float(*value, Origin::Template),
        Constant::Str(text) => Value::Str(Arc::clone(text)),
    }
}
