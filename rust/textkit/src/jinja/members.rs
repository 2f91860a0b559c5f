//! Attributes, items and slices.

use std::rc::Rc;
use std::sync::Arc;

use super::calls::{undefined_error, whole};
use super::error::{fail, Result};
use super::eval::Interpreter;
use super::methods;
use super::text::{byte_of_char, count_chars, Text};
use super::value::{Loop, Macro, Method, Value};

/// `object.name`: an attribute first, then an item.
pub fn get_attribute(
    interpreter: &mut Interpreter,
    object: &Value,
    name: &Arc<str>,
) -> Result<Value> {
    if let Some(found) = attribute(interpreter, object, name)? {
        return Ok(found);
    }
    let item = match object {
        Value::Dict(dict) => dict.get_text(name).cloned(),
        _ => None,
    };
    Ok(item.unwrap_or_else(|| Value::Undefined(Arc::clone(name))))
}

/// What Python's getattr finds.
fn attribute(
    interpreter: &mut Interpreter,
    object: &Value,
    name: &Arc<str>,
) -> Result<Option<Value>> {
    if methods::exists(object, name) {
        let method = Method { object: object.clone(), name: Arc::clone(name) };
        return Ok(Some(Value::Method(Rc::new(method))));
    }
    Ok(match object {
        Value::Undefined(missing) => return Err(undefined_error(missing)),
        Value::Namespace(index) => interpreter.namespaces[*index]
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.clone()),
        Value::Loop(state) => loop_attribute(state, name),
        Value::Macro(called) => macro_attribute(called, name)?,
        Value::Cycler(cycler) if &**name == "current" => {
            Some(cycler.items[cycler.at.get()].clone())
        }
        // The pairs of groupby have names.
        Value::Tuple(items) if items.len() == 2 => match &**name {
            "grouper" => Some(items[0].clone()),
            "list" => Some(items[1].clone()),
            _ => None,
        },
        _ => None,
    })
}

fn loop_attribute(state: &Rc<Loop>, name: &str) -> Option<Value> {
    let (index, length) = (state.index.get(), state.items.len());
    let number = |value: usize| Some(Value::int(value as i128));
    match name {
        "index" => number(index + 1),
        "index0" => number(index),
        "revindex" => number(length - index),
        "revindex0" => number(length - index - 1),
        "first" => Some(Value::Bool(index == 0)),
        "last" => Some(Value::Bool(index + 1 == length)),
        "length" => number(length),
        "depth" => number(state.depth + 1),
        "depth0" => number(state.depth),
        "previtem" if index == 0 => Some(Value::undefined("there is no previous item")),
        "previtem" => Some(state.items[index - 1].clone()),
        "nextitem" => match state.items.get(index + 1) {
            Some(next) => Some(next.clone()),
            None => Some(Value::undefined("there is no next item")),
        },
        _ => None,
    }
}

fn macro_attribute(called: &Rc<Macro>, name: &str) -> Result<Option<Value>> {
    let code = &called.code;
    Ok(match name {
        "name" => Some(code.name.as_deref().map_or(Value::None, Value::own)),
        "arguments" => {
            let names = code.parameters.iter().map(|p| Value::own(&*p.name)).collect();
            Some(Value::tuple(names)?)
        }
        "catch_kwargs" => Some(Value::Bool(code.uses_kwargs)),
        "catch_varargs" => Some(Value::Bool(code.uses_varargs)),
        "caller" => Some(Value::Bool(code.uses_caller)),
        _ => None,
    })
}

/// `object[key]`: an item first, then, by a string, an attribute.
pub fn get_item(interpreter: &mut Interpreter, object: &Value, key: &Value) -> Result<Value> {
    let index = match key {
        Value::Int(index, _) => Some(*index),
        Value::Bool(index) => Some(i128::from(*index)),
        _ => None,
    };
    let found = match (object, index) {
        (Value::Undefined(name), _) => return Err(undefined_error(name)),
        (Value::Dict(dict), _) if key.check_hashable().is_ok() => dict.get(key).cloned(),
        (Value::List(items) | Value::Tuple(items), Some(index)) => {
            position(index, items.len()).map(|at| items[at].clone())
        }
        (Value::Range(range), Some(index)) => position(index, range.len).map(|at| range.get(at)),
        (Value::Str(text), Some(index)) => character(interpreter, text, index)?,
        _ => None,
    };
    if let Some(found) = found {
        return Ok(found);
    }
    let name: Arc<str> = match key {
        Value::Str(name) => name.as_str().into(),
        Value::Int(index, _) => index.to_string().into(),
        _ => key.type_name().into(),
    };
    if let Value::Str(_) = key {
        if let Some(found) = attribute(interpreter, object, &name)? {
            return Ok(found);
        }
    }
    Ok(Value::Undefined(name))
}

fn position(index: i128, len: usize) -> Option<usize> {
    let index = if index < 0 { index + len as i128 } else { index };
    usize::try_from(index).ok().filter(|at| *at < len)
}

fn character(
    interpreter: &mut Interpreter,
    text: &Arc<Text>,
    index: i128,
) -> Result<Option<Value>> {
    let ascii = text.as_str().is_ascii();
    interpreter.meter.work(text.len() / if ascii { 256 } else { 32 })?;
    let Some(at) = position(index, count_chars(text.as_str())) else { return Ok(None) };
    let start = byte_of_char(text.as_str(), at);
    let size = text.as_str()[start..].chars().next().map_or(0, char::len_utf8);
    Ok(Some(Value::text(text.slice(start..start + size))))
}

/// Where a slice starts and ends and its step, as Python's slice.indices.
struct Bounds {
    start: i128,
    stop: i128,
    step: i128,
}

impl Bounds {
    fn new(bounds: &[Value; 3], len: usize) -> Result<Bounds> {
        let len = len as i128;
        let read = |value: &Value| match value {
            Value::None => Ok(None),
            value => whole(value, "a slice's bound").map(Some),
        };
        let step = read(&bounds[2])?.unwrap_or(1);
        if step == 0 {
            fail!("slice step cannot be zero");
        }
        let (low, high) = if step > 0 { (0, len) } else { (-1, len - 1) };
        let clamp = |bound: i128| {
            let bound = if bound < 0 { bound.saturating_add(len) } else { bound };
            bound.clamp(low, high)
        };
        let start = read(&bounds[0])?.map_or(if step > 0 { low } else { high }, clamp);
        let stop = read(&bounds[1])?.map_or(if step > 0 { high } else { low }, clamp);
        Ok(Bounds { start, stop, step })
    }

    fn indices(&self) -> impl Iterator<Item = usize> + '_ {
        let mut at = self.start;
        std::iter::from_fn(move || {
            let inside = if self.step > 0 { at < self.stop } else { at > self.stop };
            let index = usize::try_from(at).ok().filter(|_| inside)?;
            at = at.saturating_add(self.step);
            Some(index)
        })
    }
}

pub fn get_slice(
    interpreter: &mut Interpreter,
    object: &Value,
    bounds: &[Value; 3],
) -> Result<Value> {
    match object {
        Value::Undefined(name) => Err(undefined_error(name)),
        Value::Str(text) => slice_text(interpreter, text, bounds),
        Value::List(items) | Value::Tuple(items) => {
            let bounds = Bounds::new(bounds, items.len())?;
            let kept: Vec<Value> = bounds.indices().map(|at| items[at].clone()).collect();
            interpreter.meter.reserve(kept.len() * 8)?;
            match object {
                Value::List(_) => Value::list(kept),
                _ => Value::tuple(kept),
            }
        }
        Value::Range(range) => {
            let bounds = Bounds::new(bounds, range.len)?;
            let len = bounds.indices().count();
            let at = |index: i128| range.start + range.step * index;
            Ok(Value::Range(super::value::Range {
                start: at(bounds.start),
                stop: at(bounds.stop),
                step: range.step * bounds.step,
                len,
            }))
        }
        _ => fail!("'{}' object has no slices", object.type_name()),
    }
}

pub fn slice_text(
    interpreter: &mut Interpreter,
    text: &Arc<Text>,
    bounds: &[Value; 3],
) -> Result<Value> {
    let source = text.as_str();
    interpreter.meter.work(source.len() / if source.is_ascii() { 256 } else { 32 })?;
    let bounds = Bounds::new(bounds, count_chars(source))?;
    if bounds.step == 1 {
        let start = byte_of_char(source, bounds.start as usize);
        let length = (bounds.stop - bounds.start).max(0) as usize;
        let end = start + byte_of_char(&source[start..], length);
        interpreter.meter.reserve(end - start)?;
        if end - start == source.len() {
            return Ok(Value::Str(Arc::clone(text)));
        }
        return Ok(Value::text(text.slice(start..end)));
    }
    interpreter.meter.reserve(source.len())?;
    let chars: Vec<_> = text.chars().collect();
    let mut out = Text::new();
    for at in bounds.indices() {
        out.push_char(chars[at].0, chars[at].1);
    }
    Ok(Value::text(out))
}
