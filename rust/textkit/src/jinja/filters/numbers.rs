//! Filters over numbers.

use super::super::calls::{undefined_error, whole, Arguments};
use super::super::error::{fail, Result};
use super::super::eval::Interpreter;
use super::super::ops;
use super::super::value::{Number, Value};
use super::strings::{number, parse_int};

pub fn abs(_: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    args.expect_none("abs")?;
    match Number::of(&value) {
        Some(Number::Int(n)) if n < 0 => ops::negative(&value),
        Some(Number::Int(n)) => Ok(Value::Int(n, value.origin())),
        Some(Number::Float(x)) => Ok(Value::Float(x.abs(), value.origin())),
        None => match value {
            Value::Undefined(name) => Err(undefined_error(&name)),
            _ => fail!("bad operand type for abs(): '{}'", value.type_name()),
        },
    }
}

pub fn float(_: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    let [default] = args.bind("float", ["default"])?;
    if let Value::Undefined(name) = &value {
        return Err(undefined_error(name));
    }
    match number(&value) {
        Some(number) => Ok(Value::Float(number.as_f64(), value.origin())),
        None => Ok(default.unwrap_or(Value::Float(0.0, value.origin()))),
    }
}

pub fn int(_: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    let [default, base] = args.bind("int", ["default", "base"])?;
    let base = base.map_or(Ok(10), |base| whole(&base, "int()'s base"))?;
    let base = match u32::try_from(base) {
        Ok(base) if base == 0 || (2..=36).contains(&base) => base,
        _ => fail!("int() base must be >= 2 and <= 36, or 0"),
    };
    if let Value::Undefined(name) = &value {
        return Err(undefined_error(name));
    }
    let parsed = match &value {
        Value::Str(text) => parse_int(text.as_str(), base),
        _ => None,
    };
    // "42.23" is 42.
    let number = parsed.map(Number::Int).or_else(|| number(&value));
    match number {
        Some(Number::Int(n)) => Ok(Value::Int(n, value.origin())),
        Some(Number::Float(x)) if x.is_finite() && x.abs() < 1e38 => {
            Ok(Value::Int(x.trunc() as i128, value.origin()))
        }
        Some(Number::Float(x)) if x.is_finite() => fail!("an integer grows beyond 128 bits"),
        _ => Ok(default.unwrap_or_else(|| Value::int(0))),
    }
}

pub fn round(_: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    let [precision, method] = args.bind("round", ["precision", "method"])?;
    let precision = precision.map_or(Ok(0), |p| whole(&p, "round()'s precision"))?;
    let precision = precision.clamp(-400, 400) as i32;
    let method = method.unwrap_or_else(|| Value::own("common"));
    let Some(number) = Number::of(&value) else {
        match value {
            Value::Undefined(name) => return Err(undefined_error(&name)),
            _ => fail!("round() takes a number, not {}", value.type_name()),
        }
    };
    let origin = value.origin();
    match (method.as_str(), number) {
        (Some("common"), Number::Int(n)) if precision >= 0 => Ok(Value::Int(n, origin)),
        (Some("common"), Number::Int(n)) => {
            let unit = u32::try_from(-precision).ok().and_then(|p| 10i128.checked_pow(p));
            let Some(unit) = unit else { return Ok(Value::Int(0, origin)) };
            let (down, rest) = (n.div_euclid(unit), n.rem_euclid(unit));
            let up = rest * 2 > unit || rest * 2 == unit && down % 2 != 0;
            Ok(Value::Int((down + i128::from(up)) * unit, origin))
        }
        (Some("common"), Number::Float(x)) => Ok(Value::Float(round_float(x, precision), origin)),
        (Some(way @ ("ceil" | "floor")), number) => {
            let scale = 10f64.powi(precision);
            let scaled = number.as_f64() * scale;
            let whole = if way == "ceil" { scaled.ceil() } else { scaled.floor() };
            Ok(Value::Float(whole / scale, origin))
        }
        _ => fail!("round()'s method must be common, ceil or floor"),
    }
}

/// Half to even, on the exact decimal value, as CPython does.
fn round_float(x: f64, precision: i32) -> f64 {
    if !x.is_finite() || precision > 320 {
        return x;
    }
    match usize::try_from(precision) {
        Ok(places) => format!("{x:.places$}").parse().unwrap_or(x),
        Err(_) => {
            let scale = 10f64.powi(-precision);
            let rounded = (x / scale).round_ties_even() * scale;
            if rounded == 0.0 {
                0.0f64.copysign(x)
            } else {
                rounded
            }
        }
    }
}
