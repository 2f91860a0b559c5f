//! Jinja2's filters (`jinja2/filters.py`), with transformers' `tojson`.

mod numbers;
mod sequences;
mod strings;

use super::ast::FilterFn;
use super::calls::{undefined_error, Arguments};
use super::error::{fail, Result};
use super::eval::Interpreter;
use super::members::{get_attribute, get_item};
use super::methods;
use super::print;
use super::to_json;
use super::value::{pairs, Value};

pub fn by_name(name: &str) -> Option<FilterFn> {
    Some(match name {
        "abs" => numbers::abs,
        "attr" => attr,
        "batch" => sequences::batch,
        "capitalize" => strings::capitalize,
        "center" => strings::center,
        "count" | "length" => length,
        "d" | "default" => default,
        "dictsort" => sequences::dictsort,
        "e" | "escape" | "forceescape" => strings::escape,
        "first" => sequences::first,
        "float" => numbers::float,
        "format" => strings::format,
        "groupby" => sequences::groupby,
        "indent" => strings::indent,
        "int" => numbers::int,
        "items" => items,
        "join" => strings::join,
        "last" => sequences::last,
        "list" => list,
        "lower" => strings::lower,
        "map" => sequences::map,
        "max" => sequences::max,
        "min" => sequences::min,
        "reject" => sequences::reject,
        "rejectattr" => sequences::rejectattr,
        "replace" => strings::replace,
        "reverse" => sequences::reverse,
        "round" => numbers::round,
        "safe" | "string" => string,
        "select" => sequences::select,
        "selectattr" => sequences::selectattr,
        "slice" => sequences::slice,
        "sort" => sequences::sort,
        "striptags" => strings::striptags,
        "sum" => sequences::sum,
        "title" => strings::title,
        "tojson" => to_json::filter,
        "trim" => strings::trim,
        "truncate" => strings::truncate,
        "unique" => sequences::unique,
        "upper" => strings::upper,
        "urlencode" => strings::urlencode,
        "wordcount" => strings::wordcount,
        _ => return None,
    })
}

fn default(_: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    let [default, boolean] = args.bind("default", ["default_value", "boolean"])?;
    let boolean = boolean.is_some_and(|boolean| boolean.truth());
    if value.is_undefined() || boolean && !value.truth() {
        return Ok(default.unwrap_or_else(|| Value::own("")));
    }
    Ok(value)
}

fn length(_: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    args.expect_none("length")?;
    Ok(Value::int(value.len()? as i128))
}

fn list(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    args.expect_none("list")?;
    let items = value.items()?;
    interpreter.meter.reserve(items.len() * 8)?;
    Value::list(items.to_vec())
}

fn string(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    args.expect_none("string")?;
    Ok(Value::Str(print::to_text(interpreter, &value)?))
}

fn items(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    args.expect_none("items")?;
    match value {
        Value::Undefined(_) => Value::iterator(Vec::new()),
        Value::Dict(dict) => {
            interpreter.meter.work(dict.entries().len())?;
            Value::iterator(pairs(&dict)?)
        }
        _ => fail!("Can only get item pairs from a mapping."),
    }
}

/// An attribute alone, never an item.
fn attr(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    let name = args.single("attr", "name")?;
    let Some(name) = name.as_str() else { fail!("attr() takes a string") };
    match &value {
        Value::Undefined(missing) => Err(undefined_error(missing)),
        Value::Dict(_) if !methods::exists(&value, name) => Ok(Value::undefined(name)),
        _ => get_attribute(interpreter, &value, &name.into()),
    }
}

/// Reads the value that an `attribute` argument names: "a.b.0", or an index.
pub(super) struct Getter {
    path: Vec<Value>,
    default: Option<Value>,
}

impl Getter {
    fn new(attribute: Option<&Value>, default: Option<Value>) -> Getter {
        let path = match attribute {
            None | Some(Value::None) => Vec::new(),
            Some(Value::Str(name)) => name
                .as_str()
                .split('.')
                .map(|part| match part.parse() {
                    Ok(index) if part.bytes().all(|b| b.is_ascii_digit()) => Value::int(index),
                    _ => Value::own(part),
                })
                .collect(),
            Some(other) => vec![other.clone()],
        };
        Getter { path, default: default.filter(|value| !matches!(value, Value::None)) }
    }

    fn get(&self, interpreter: &mut Interpreter, item: &Value) -> Result<Value> {
        let mut value = item.clone();
        for key in &self.path {
            interpreter.meter.work(1)?;
            value = get_item(interpreter, &value, key)?;
            if let (true, Some(default)) = (value.is_undefined(), &self.default) {
                value = default.clone();
            }
        }
        Ok(value)
    }
}

/// What comparisons look at: text in lower case unless `case_sensitive`.
fn folded(value: Value, case_sensitive: bool) -> Value {
    match &value {
        Value::Str(text) if !case_sensitive => methods::lower(text),
        _ => value,
    }
}
