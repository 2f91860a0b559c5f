//! Calls: arguments, macros and the global functions.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use super::error::{fail, Error, Result};
use super::eval::Interpreter;
use super::methods;
use super::parser::{CALLER, KWARGS, VARARGS};
use super::print;
use super::scope::Scope;
use super::text::{Origin, Text};
use super::value::{Cycler, Dict, Function, Joiner, Loop, Macro, Number, Range, Value};

/// jinja2.sandbox.MAX_RANGE
const MAX_RANGE: usize = 100_000;

pub struct Arguments {
    pub positional: Vec<Value>,
    pub named: Vec<(Arc<str>, Value)>,
}

impl Arguments {
    /// The values for parameters of these names, None where one is not given.
    pub fn bind<const N: usize>(
        self,
        function: &str,
        names: [&str; N],
    ) -> Result<[Option<Value>; N]> {
        if self.positional.len() > N {
            let given = self.positional.len();
            fail!("{function}() takes at most {N} arguments ({given} given)");
        }
        let mut bound: [Option<Value>; N] = std::array::from_fn(|_| None);
        for (slot, value) in bound.iter_mut().zip(self.positional) {
            *slot = Some(value);
        }
        for (name, value) in self.named {
            let Some(at) = names.iter().position(|known| *known == &*name) else {
                fail!("{function}() has no argument '{name}'");
            };
            if bound[at].is_some() {
                fail!("{function}() got two values for argument '{name}'");
            }
            bound[at] = Some(value);
        }
        Ok(bound)
    }

    pub fn expect_none(self, function: &str) -> Result<()> {
        self.bind(function, []).map(|_: [Option<Value>; 0]| ())
    }

    pub fn single(self, function: &str, name: &str) -> Result<Value> {
        let [value] = self.bind(function, [name])?;
        match value {
            Some(value) => Ok(value),
            None => fail!("{function}() misses its argument '{name}'"),
        }
    }
}

/// A whole number, as Python's index() takes it.
pub fn whole(value: &Value, what: &str) -> Result<i128> {
    match Number::of(value) {
        Some(Number::Int(value)) => Ok(value),
        _ => fail!("{what} must be an integer, not {}", value.type_name()),
    }
}

pub fn undefined_error(name: &str) -> Box<Error> {
    Error::runtime(format!("'{name}' is undefined"))
}

impl Interpreter<'_> {
    pub fn call(&mut self, callee: &Value, args: Arguments) -> Result<Value> {
        match callee {
            Value::Macro(called) => self.call_macro(called, args),
            Value::Function(function) => self.call_function(*function, args),
            Value::Method(method) => methods::call(self, &method.object, &method.name, args),
            Value::Loop(state) => self.call_loop(state, args),
            Value::Joiner(joiner) => {
                args.expect_none("joiner")?;
                let separator = Value::Str(Arc::clone(&joiner.separator));
                Ok(if joiner.used.replace(true) { separator } else { Value::own("") })
            }
            Value::Undefined(name) => Err(undefined_error(name)),
            _ => fail!("'{}' object is not callable", callee.type_name()),
        }
    }

    fn call_loop(&mut self, state: &Rc<Loop>, args: Arguments) -> Result<Value> {
        let over = args.single("loop", "iterable")?;
        let Some((code, scope)) = &state.recursion else {
            fail!("the loop is not marked 'recursive', so 'loop' cannot be called");
        };
        let mut text = Text::new();
        self.run_loop(code, &over, scope, state.depth + 1, &mut text)?;
        self.meter.reserve(text.len())?;
        Ok(Value::text(text))
    }

    fn call_macro(&mut self, called: &Rc<Macro>, args: Arguments) -> Result<Value> {
        let code = &called.code;
        let name = code.name.as_deref().unwrap_or("caller");
        let scope = Scope::inside(&called.scope);
        let Arguments { positional, mut named } = args;
        let count = code.parameters.len();
        let mut positional = positional.into_iter();
        for parameter in &code.parameters {
            let given = positional.next().or_else(|| {
                let at = named.iter().position(|(name, _)| *name == parameter.name)?;
                Some(named.remove(at).1)
            });
            let value = match (given, &parameter.default) {
                (Some(value), _) => value,
                (None, Some(default)) => self.eval(default, &scope)?,
                (None, None) => Value::Undefined(Arc::clone(&parameter.name)),
            };
            scope.set(parameter.symbol, value);
        }
        if code.uses_caller {
            let at = named.iter().position(|(name, _)| &**name == "caller");
            let caller = at.map(|at| named.remove(at).1);
            scope.set(CALLER, caller.unwrap_or_else(|| Value::undefined("caller")));
        }
        if code.uses_kwargs {
            let entries = named.drain(..).map(|(name, value)| (Value::own(&*name), value));
            scope.set(KWARGS, Dict::from_entries(entries)?);
        } else if let Some((unknown, _)) = named.first() {
            fail!("macro '{name}' takes no keyword argument '{unknown}'");
        }
        let rest: Vec<Value> = positional.collect();
        if code.uses_varargs {
            scope.set(VARARGS, Value::tuple(rest)?);
        } else if !rest.is_empty() {
            fail!("macro '{name}' takes not more than {count} argument(s)");
        }
        self.capture_text(&code.body, &scope)
    }

    fn call_function(&mut self, function: Function, args: Arguments) -> Result<Value> {
        match function {
            Function::Range => range(args),
            Function::Dict => self.dict(args),
            Function::Namespace => {
                let Value::Dict(dict) = self.dict(args)? else { fail!("namespace: no mapping") };
                self.meter.reserve(64 * (dict.entries().len() + 1))?;
                let named = dict.entries().iter().map(|(key, value)| {
                    let key = key.as_str().unwrap_or_default();
                    (key.into(), value.clone())
                });
                self.namespaces.push(named.collect());
                Ok(Value::Namespace(self.namespaces.len() - 1))
            }
            Function::Cycler => {
                let items = Value::tuple(args.positional)?.items()?;
                if items.is_empty() {
                    fail!("cycler() takes at least one item");
                }
                Ok(Value::Cycler(Rc::new(Cycler { items, at: Cell::new(0) })))
            }
            Function::Joiner => {
                let [separator] = args.bind("joiner", ["sep"])?;
                let separator = match separator {
                    Some(Value::Str(text)) => text,
                    None => Arc::new(Text::of(", ", Origin::Template)),
                    Some(other) => fail!("joiner() takes a string, not {}", other.type_name()),
                };
                Ok(Value::Joiner(Rc::new(Joiner { separator, used: Cell::new(false) })))
            }
            Function::RaiseException => {
                let message = args.single("raise_exception", "message")?;
                let message = print::to_text(self, &message)?;
                Err(Error::raised(message.as_str()))
            }
            Function::StrftimeNow => {
                let format = args.single("strftime_now", "format")?;
                let Some(format) = format.as_str() else {
                    fail!("strftime_now() takes a string, not {}", format.type_name());
                };
                match (self.clock)(format) {
                    Some(now) => Ok(Value::own(now)),
                    None => fail!("strftime_now() cannot write the time as {format:?}"),
                }
            }
        }
    }

    fn dict(&mut self, args: Arguments) -> Result<Value> {
        let mut dict = Dict::default();
        if args.positional.len() > 1 {
            fail!("dict() takes at most one argument by position");
        }
        match args.positional.first() {
            None => {}
            Some(Value::Dict(other)) => {
                for (key, value) in other.entries() {
                    dict.insert(key.clone(), value.clone())?;
                }
            }
            Some(pairs) => {
                for pair in pairs.items()?.iter() {
                    match &pair.items()?[..] {
                        [key, value] => dict.insert(key.clone(), value.clone())?,
                        other => fail!("dict() wants pairs, not {} values", other.len()),
                    }
                }
            }
        }
        for (name, value) in args.named {
            dict.insert(Value::own(&*name), value)?;
        }
        self.meter.work(dict.entries().len())?;
        dict.finish()
    }
}

fn range(args: Arguments) -> Result<Value> {
    if let Some((name, _)) = args.named.first() {
        fail!("range() has no argument '{name}'");
    }
    let bound = |value: &Value| whole(value, "range()'s argument");
    let (start, stop, step) = match args.positional.as_slice() {
        [stop] => (0, bound(stop)?, 1),
        [start, stop] => (bound(start)?, bound(stop)?, 1),
        [start, stop, step] => (bound(start)?, bound(stop)?, bound(step)?),
        other => fail!("range() takes 1 to 3 arguments ({} given)", other.len()),
    };
    if step == 0 {
        fail!("range() arg 3 must not be zero");
    }
    let distance = if step > 0 { stop.checked_sub(start) } else { start.checked_sub(stop) };
    let distance = distance.unwrap_or(i128::MAX).max(0) as u128;
    let len = distance.div_ceil(step.unsigned_abs());
    match usize::try_from(len) {
        Ok(len) if len <= MAX_RANGE => Ok(Value::Range(Range { start, stop, step, len })),
        _ => fail!("range() is too big: at most {MAX_RANGE} items are allowed"),
    }
}
