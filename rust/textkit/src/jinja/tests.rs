//! What follows `is`: Jinja2's tests.

use std::cmp::Ordering;

use super::ast::{Comparison, TestFn};
use super::calls::undefined_error;
use super::error::{fail, Result};
use super::eval::Interpreter;
use super::filters;
use super::ops;
use super::value::{same_object, Number, Value};

pub fn by_name(name: &str) -> Option<TestFn> {
    Some(match name {
        "defined" => |_, value, _| Ok(!value.is_undefined()),
        "undefined" => |_, value, _| Ok(value.is_undefined()),
        "none" => |_, value, _| Ok(matches!(value, Value::None)),
        "true" => |_, value, _| Ok(matches!(value, Value::Bool(true))),
        "false" => |_, value, _| Ok(matches!(value, Value::Bool(false))),
        "boolean" => |_, value, _| Ok(matches!(value, Value::Bool(_))),
        "integer" => |_, value, _| Ok(matches!(value, Value::Int(..))),
        "float" => |_, value, _| Ok(matches!(value, Value::Float(..))),
        "number" => |_, value, _| Ok(Number::of(value).is_some()),
        "string" => |_, value, _| Ok(matches!(value, Value::Str(_))),
        "mapping" => |_, value, _| Ok(matches!(value, Value::Dict(_))),
        "iterable" => |_, value, _| Ok(value.is_iterable()),
        "sequence" => |_, value, _| Ok(is_sequence(value)),
        "callable" => |_, value, _| Ok(is_callable(value)),
        "escaped" => |_, _, _| Ok(false),
        "lower" => |interpreter, value, _| is_case(interpreter, value, "islower"),
        "upper" => |interpreter, value, _| is_case(interpreter, value, "isupper"),
        "odd" => |interpreter, value, _| leaves(interpreter, value, &Value::int(2), 1),
        "even" => |interpreter, value, _| leaves(interpreter, value, &Value::int(2), 0),
        "divisibleby" => |interpreter, value, args| leaves(interpreter, value, one(args)?, 0),
        "sameas" => |_, value, args| Ok(same_object(value, one(args)?)),
        "in" => |interpreter, value, args| ops::contains(interpreter, one(args)?, value),
        "eq" | "equalto" | "==" => |interpreter, value, args| {
            ops::compare(interpreter, Comparison::Equal, value, one(args)?)
        },
        "ne" | "!=" => |interpreter, value, args| {
            ops::compare(interpreter, Comparison::NotEqual, value, one(args)?)
        },
        "lt" | "lessthan" | "<" => |interpreter, value, args| {
            Ok(ops::order(interpreter, "<", value, one(args)?)? == Some(Ordering::Less))
        },
        "le" | "<=" => |interpreter, value, args| {
            ops::compare(interpreter, Comparison::LessEqual, value, one(args)?)
        },
        "gt" | "greaterthan" | ">" => |interpreter, value, args| {
            ops::compare(interpreter, Comparison::Greater, value, one(args)?)
        },
        "ge" | ">=" => |interpreter, value, args| {
            ops::compare(interpreter, Comparison::GreaterEqual, value, one(args)?)
        },
        "filter" => |_, value, _| Ok(value.as_str().is_some_and(|n| filters::by_name(n).is_some())),
        "test" => |_, value, _| Ok(value.as_str().is_some_and(|name| by_name(name).is_some())),
        _ => return None,
    })
}

fn one(args: &[Value]) -> Result<&Value> {
    match args {
        [value] => Ok(value),
        _ => fail!("the test takes one argument ({} given)", args.len()),
    }
}

/// Has a length and items by index, or keys.
fn is_sequence(value: &Value) -> bool {
    use Value::*;
    matches!(value, Undefined(_) | Str(_) | List(_) | Tuple(_) | Dict(_) | Range(_))
}

fn is_callable(value: &Value) -> bool {
    use Value::*;
    matches!(value, Undefined(_) | Macro(_) | Function(_) | Method(_) | Loop(_) | Joiner(_))
}

fn is_case(interpreter: &mut Interpreter, value: &Value, method: &str) -> Result<bool> {
    let text = super::print::to_text(interpreter, value)?;
    let args = super::calls::Arguments { positional: Vec::new(), named: Vec::new() };
    Ok(super::methods::call(interpreter, &Value::Str(text), method, args)?.truth())
}

/// Whether a division leaves `rest`.
fn leaves(interpreter: &mut Interpreter, value: &Value, by: &Value, rest: i128) -> Result<bool> {
    if let Value::Undefined(name) = value {
        return Err(undefined_error(name));
    }
    let left = ops::binary(interpreter, super::ast::Binary::Modulo, value, by)?;
    Ok(super::value::equal(&left, &Value::int(rest)))
}
