//! Python's operators.

use std::cmp::Ordering;

use super::ast::{Binary, Comparison};
use super::calls::{undefined_error, whole};
use super::error::{fail, Error, Result};
use super::eval::Interpreter;
use super::format;
use super::text::{Origin, Text};
use super::value::{equal, pairs, same_object, Number, Value, View};

fn overflow() -> Box<Error> {
    Error::runtime("an integer grows beyond 128 bits")
}

pub fn negative(value: &Value) -> Result<Value> {
    match Number::of(value) {
        Some(Number::Int(n)) => {
            Ok(Value::Int(n.checked_neg().ok_or_else(overflow)?, value.origin()))
        }
        Some(Number::Float(x)) => Ok(Value::Float(-x, value.origin())),
        None => Err(bad_operand("unary -", value)),
    }
}

pub fn positive(value: &Value) -> Result<Value> {
    match Number::of(value) {
        Some(Number::Int(n)) => Ok(Value::Int(n, value.origin())),
        Some(Number::Float(x)) => Ok(Value::Float(x, value.origin())),
        None => Err(bad_operand("unary +", value)),
    }
}

fn bad_operand(operator: &str, value: &Value) -> Box<Error> {
    match value {
        Value::Undefined(name) => undefined_error(name),
        _ => Error::runtime(format!("bad operand type for {operator}: '{}'", value.type_name())),
    }
}

fn bad_operands(operator: &str, left: &Value, right: &Value) -> Box<Error> {
    match (left, right) {
        (Value::Undefined(name), _) | (_, Value::Undefined(name)) => undefined_error(name),
        _ => Error::runtime(format!(
            "unsupported operand types for {operator}: '{}' and '{}'",
            left.type_name(),
            right.type_name()
        )),
    }
}

pub fn binary(
    interpreter: &mut Interpreter,
    operator: Binary,
    left: &Value,
    right: &Value,
) -> Result<Value> {
    if let (Binary::Modulo, Value::Str(text)) = (operator, left) {
        return Ok(Value::text(format::percent(interpreter, text, right)?));
    }
    if let (Some(a), Some(b)) = (Number::of(left), Number::of(right)) {
        let origin = left.origin().and(right.origin());
        return match (a, b) {
            (Number::Int(a), Number::Int(b)) => integers(operator, a, b, origin),
            _ => floats(operator, a.as_f64(), b.as_f64(), origin),
        };
    }
    match operator {
        Binary::Add => add(interpreter, left, right),
        Binary::Multiply => match (left, right) {
            (Value::Str(_) | Value::List(_) | Value::Tuple(_), _) => {
                repeat(interpreter, left, right)
            }
            (_, Value::Str(_) | Value::List(_) | Value::Tuple(_)) => {
                repeat(interpreter, right, left)
            }
            _ => Err(bad_operands("*", left, right)),
        },
        Binary::Subtract => Err(bad_operands("-", left, right)),
        Binary::Divide => Err(bad_operands("/", left, right)),
        Binary::FloorDivide => Err(bad_operands("//", left, right)),
        Binary::Modulo => Err(bad_operands("%", left, right)),
        Binary::Power => Err(bad_operands("**", left, right)),
    }
}

fn add(interpreter: &mut Interpreter, left: &Value, right: &Value) -> Result<Value> {
    match (left, right) {
        (Value::Str(a), Value::Str(b)) => {
            interpreter.meter.reserve(a.len() + b.len())?;
            let mut text = Text::new();
            text.push_text(a);
            text.push_text(b);
            Ok(Value::text(text))
        }
        (Value::List(a), Value::List(b)) => {
            interpreter.meter.reserve((a.len() + b.len()) * 8)?;
            Value::list(a.iter().chain(b.iter()).cloned().collect())
        }
        (Value::Tuple(a), Value::Tuple(b)) => {
            interpreter.meter.reserve((a.len() + b.len()) * 8)?;
            Value::tuple(a.iter().chain(b.iter()).cloned().collect())
        }
        _ => Err(bad_operands("+", left, right)),
    }
}

fn repeat(interpreter: &mut Interpreter, repeated: &Value, count: &Value) -> Result<Value> {
    let Some(Number::Int(count)) = Number::of(count) else {
        return Err(bad_operands("*", repeated, count));
    };
    let count = usize::try_from(count.max(0)).unwrap_or(usize::MAX);
    match repeated {
        Value::Str(text) => {
            interpreter.meter.reserve(text.len().saturating_mul(count))?;
            Ok(Value::text(text.repeated(if text.is_empty() { 0 } else { count })))
        }
        Value::List(items) | Value::Tuple(items) => {
            let size = std::mem::size_of::<Value>();
            interpreter.meter.reserve(items.len().saturating_mul(count).saturating_mul(size))?;
            let count = if items.is_empty() { 0 } else { count };
            let copies = (0..count).flat_map(|_| items.iter().cloned()).collect();
            match repeated {
                Value::List(_) => Value::list(copies),
                _ => Value::tuple(copies),
            }
        }
        _ => Err(bad_operands("*", repeated, &Value::int(0))),
    }
}

/// The nearest number to a / b, of which neither need be a floating-point number.
fn quotient(a: i128, b: i128) -> f64 {
    let (dividend, divisor) = (a.unsigned_abs(), b.unsigned_abs());
    let (mut quotient, mut rest) = (dividend / divisor, dividend % divisor);
    // Bits behind the point, until there are more than a number has, and one for all others.
    let mut scale = 1.0;
    while rest != 0 && quotient >> 60 == 0 {
        // 2 * rest may have a bit too many: 2 * rest - divisor has not.
        let bit = rest >= divisor - rest;
        rest = if bit { rest - (divisor - rest) } else { 2 * rest };
        quotient = 2 * quotient + u128::from(bit);
        scale /= 2.0;
    }
    let magnitude = (quotient | u128::from(rest != 0)) as f64 * scale;
    if (a < 0) == (b < 0) {
        magnitude
    } else {
        -magnitude
    }
}

fn integers(operator: Binary, a: i128, b: i128, origin: Origin) -> Result<Value> {
    let result = match operator {
        Binary::Add => a.checked_add(b),
        Binary::Subtract => a.checked_sub(b),
        Binary::Multiply => a.checked_mul(b),
        Binary::Divide if b != 0 => return Ok(Value::Float(quotient(a, b), origin)),
        Binary::Divide => return floats(operator, a as f64, b as f64, origin),
        Binary::FloorDivide | Binary::Modulo if b == 0 => {
            fail!("integer division or modulo by zero")
        }
        Binary::FloorDivide => {
            a.checked_div(b).map(|q| if a % b != 0 && (a < 0) != (b < 0) { q - 1 } else { q })
        }
        Binary::Modulo => {
            a.checked_rem(b).map(|r| if r != 0 && (r < 0) != (b < 0) { r + b } else { r })
        }
        Binary::Power if b < 0 => return floats(operator, a as f64, b as f64, origin),
        Binary::Power => match a {
            0 | 1 => Some(if b == 0 { 1 } else { a }),
            -1 => Some(if b % 2 == 0 { 1 } else { -1 }),
            _ => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
        },
    };
    result.map(|n| Value::Int(n, origin)).ok_or_else(overflow)
}

fn floats(operator: Binary, a: f64, b: f64, origin: Origin) -> Result<Value> {
    let modulo = || {
        let rest = a % b;
        if rest == 0.0 {
            0.0f64.copysign(b)
        } else if (rest < 0.0) != (b < 0.0) {
            rest + b
        } else {
            rest
        }
    };
    let result = match operator {
        Binary::Add => a + b,
        Binary::Subtract => a - b,
        Binary::Multiply => a * b,
        Binary::Divide | Binary::FloorDivide | Binary::Modulo if b == 0.0 => {
            fail!("division by zero")
        }
        Binary::Divide => a / b,
        Binary::FloorDivide => {
            // As CPython's float_floor_div: the quotient of what is left without the rest.
            let rest = a % b;
            let wrong_sign = rest != 0.0 && (rest < 0.0) != (b < 0.0);
            let quotient = (a - rest) / b - if wrong_sign { 1.0 } else { 0.0 };
            if quotient == 0.0 {
                0.0f64.copysign(a / b)
            } else {
                let floor = quotient.floor();
                if quotient - floor > 0.5 {
                    floor + 1.0
                } else {
                    floor
                }
            }
        }
        Binary::Modulo => modulo(),
        Binary::Power if a == 0.0 && b < 0.0 => {
            fail!("0.0 cannot be raised to a negative power")
        }
        Binary::Power if a < 0.0 && b.fract() != 0.0 => {
            fail!("a negative number to a fractional power is not a real number")
        }
        Binary::Power => {
            let power = a.powf(b);
            if power.is_infinite() && a.is_finite() && b.is_finite() {
                fail!("the result of ** is too large");
            }
            power
        }
    };
    Ok(Value::Float(result, origin))
}

pub fn compare(
    interpreter: &mut Interpreter,
    comparison: Comparison,
    left: &Value,
    right: &Value,
) -> Result<bool> {
    Ok(match comparison {
        Comparison::Equal => metered_equal(interpreter, left, right)?,
        Comparison::NotEqual => !metered_equal(interpreter, left, right)?,
        Comparison::In => contains(interpreter, right, left)?,
        Comparison::NotIn => !contains(interpreter, right, left)?,
        Comparison::Less => order(interpreter, "<", left, right)? == Some(Ordering::Less),
        Comparison::Greater => order(interpreter, ">", left, right)? == Some(Ordering::Greater),
        Comparison::LessEqual => {
            matches!(order(interpreter, "<=", left, right)?, Some(Ordering::Less | Ordering::Equal))
        }
        Comparison::GreaterEqual => matches!(
            order(interpreter, ">=", left, right)?,
            Some(Ordering::Greater | Ordering::Equal)
        ),
    })
}

pub fn metered_equal(interpreter: &mut Interpreter, left: &Value, right: &Value) -> Result<bool> {
    let cost = match (left, right) {
        (Value::Str(a), Value::Str(b)) if a.len() == b.len() => a.len() / 256,
        (Value::List(_) | Value::Tuple(_) | Value::Dict(_), _) => size_within(left, 1 << 20),
        _ => 0,
    };
    interpreter.meter.work(cost)?;
    Ok(equal(left, right))
}

/// How many values lie in `value`, counted up to some `most`.
fn size_within(value: &Value, most: usize) -> usize {
    let mut size = 1;
    let mut add = |value: &Value| {
        if size < most {
            size += size_within(value, most - size);
        }
    };
    match value {
        Value::List(items) | Value::Tuple(items) => items.iter().for_each(add),
        Value::Dict(dict) => dict.entries().iter().for_each(|(_, value)| add(value)),
        Value::Str(text) => size += text.len() / 256,
        _ => {}
    }
    size
}

/// Not by the nearest float to the integer, which may be the float itself.
fn order_with_float(int: i128, float: f64) -> Option<Ordering> {
    match (int as f64).partial_cmp(&float)? {
        Ordering::Equal => Some(int.cmp(&(float as i128))),
        order => Some(order),
    }
}

/// None: not ordered (NaN).
pub fn order(
    interpreter: &mut Interpreter,
    operator: &str,
    left: &Value,
    right: &Value,
) -> Result<Option<Ordering>> {
    if let (Some(a), Some(b)) = (Number::of(left), Number::of(right)) {
        return Ok(match (a, b) {
            (Number::Int(a), Number::Int(b)) => Some(a.cmp(&b)),
            (Number::Float(a), Number::Float(b)) => a.partial_cmp(&b),
            (Number::Int(a), Number::Float(b)) => order_with_float(a, b),
            (Number::Float(a), Number::Int(b)) => order_with_float(b, a).map(Ordering::reverse),
        });
    }
    match (left, right) {
        (Value::Str(a), Value::Str(b)) => {
            interpreter.meter.work(a.len().min(b.len()) / 256)?;
            // The order of UTF-8's bytes is the order of code points.
            Ok(Some(a.as_str().cmp(b.as_str())))
        }
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
            for (a, b) in a.iter().zip(b.iter()) {
                if !metered_equal(interpreter, a, b)? {
                    return order(interpreter, operator, a, b);
                }
            }
            Ok(Some(a.len().cmp(&b.len())))
        }
        (Value::Undefined(name), _) | (_, Value::Undefined(name)) => Err(undefined_error(name)),
        _ => fail!(
            "'{operator}' not supported between instances of '{}' and '{}'",
            left.type_name(),
            right.type_name()
        ),
    }
}

pub fn contains(interpreter: &mut Interpreter, container: &Value, item: &Value) -> Result<bool> {
    let among = |interpreter: &mut Interpreter, items: &[Value]| -> Result<bool> {
        for candidate in items {
            if same_object(candidate, item) || metered_equal(interpreter, candidate, item)? {
                return Ok(true);
            }
        }
        Ok(false)
    };
    match (container, item) {
        (Value::Str(text), Value::Str(part)) => {
            interpreter.meter.work(text.len() / 128)?;
            Ok(text.as_str().contains(part.as_str()))
        }
        (Value::Str(_), _) => {
            fail!("'in <string>' requires string as left operand, not {}", item.type_name())
        }
        (Value::Dict(dict) | Value::View(View::Keys, dict), _) => {
            item.check_hashable()?;
            Ok(dict.get(item).is_some())
        }
        (Value::View(View::Items, dict), _) => among(interpreter, &pairs(dict)?),
        (Value::List(items) | Value::Tuple(items), _) => {
            interpreter.meter.work(items.len() / 8)?;
            among(interpreter, items)
        }
        (Value::Range(range), _) => Ok(match Number::of(item) {
            Some(Number::Int(n)) => {
                let offset = n - range.start;
                offset % range.step == 0 && (0..range.len as i128).contains(&(offset / range.step))
            }
            Some(Number::Float(x)) => {
                (0..range.len).any(|i| equal(&range.get(i), item) && !x.is_nan())
            }
            None => false,
        }),
        (Value::Iterator(generator), _) => {
            while let Some(candidate) = generator.next() {
                if metered_equal(interpreter, &candidate, item)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        _ if container.is_iterable() => among(interpreter, &container.items()?),
        _ => fail!("argument of type '{}' is not iterable", container.type_name()),
    }
}

/// The argument that counts something: negative for "all".
pub fn limit(value: Option<&Value>, what: &str) -> Result<usize> {
    match value {
        None => Ok(usize::MAX),
        Some(value) => Ok(usize::try_from(whole(value, what)?).unwrap_or(usize::MAX)),
    }
}
