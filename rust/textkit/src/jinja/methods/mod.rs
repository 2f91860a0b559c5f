//! Methods of Python's types. Those that would change a list or a dict do not exist here: the
//! immutable sandbox of transformers refuses them.

mod case;
mod split;
mod strings;

use std::rc::Rc;

use super::calls::{undefined_error, Arguments};
use super::error::{fail, Result};
use super::eval::Interpreter;
use super::ops;
use super::value::{Dict, Value, View};

pub use case::{capitalize, lower, title_words, upper};
pub use split::lines;
pub use strings::{join, replace, strip};

const STRING: [&str; 44] = [
    "capitalize",
    "casefold",
    "center",
    "count",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "upper",
    "zfill",
];

/// Whether `object.name` is a method.
pub fn exists(object: &Value, name: &str) -> bool {
    match object {
        Value::Str(_) => STRING.binary_search(&name).is_ok(),
        Value::Dict(_) => matches!(name, "items" | "keys" | "values" | "get" | "copy"),
        Value::List(_) => matches!(name, "count" | "index" | "copy"),
        Value::Tuple(_) | Value::Range(_) => matches!(name, "count" | "index"),
        Value::Loop(_) => matches!(name, "cycle" | "changed"),
        Value::Cycler(_) => matches!(name, "next" | "reset"),
        Value::Float(..) => name == "is_integer",
        _ => false,
    }
}

/// Calls a method that exists.
pub fn call(
    interpreter: &mut Interpreter,
    object: &Value,
    name: &str,
    args: Arguments,
) -> Result<Value> {
    match object {
        Value::Str(text) => strings::call(interpreter, text, name, args),
        Value::Dict(dict) => dict_method(dict, name, args),
        Value::List(_) | Value::Tuple(_) | Value::Range(_) => {
            list_method(interpreter, object, name, args)
        }
        Value::Loop(state) if name == "cycle" => {
            if args.positional.is_empty() {
                fail!("no items for cycling given");
            }
            Ok(args.positional[state.index.get() % args.positional.len()].clone())
        }
        Value::Loop(state) => {
            let mut last = state.changed.borrow_mut();
            let same = last.as_ref().is_some_and(|last| {
                last.len() == args.positional.len()
                    && last.iter().zip(&args.positional).all(|(a, b)| super::value::equal(a, b))
            });
            // What is kept must not keep the loop itself.
            let kept = Value::tuple(args.positional)?;
            if !same {
                *last = Some(kept.items()?.to_vec());
            }
            Ok(Value::Bool(!same))
        }
        Value::Cycler(cycler) => {
            args.expect_none(name)?;
            let at = cycler.at.get();
            if name == "reset" {
                cycler.at.set(0);
                return Ok(Value::None);
            }
            cycler.at.set((at + 1) % cycler.items.len());
            Ok(cycler.items[at].clone())
        }
        Value::Float(x, _) => {
            args.expect_none(name)?;
            Ok(Value::Bool(x.fract() == 0.0))
        }
        Value::Undefined(name) => Err(undefined_error(name)),
        _ => fail!("'{}' object has no method '{name}'", object.type_name()),
    }
}

fn dict_method(dict: &Rc<Dict>, name: &str, args: Arguments) -> Result<Value> {
    let view = match name {
        "items" => View::Items,
        "keys" => View::Keys,
        "values" => View::Values,
        "copy" => {
            args.expect_none(name)?;
            return Ok(Value::Dict(Rc::clone(dict)));
        }
        _ => {
            if let Some((name, _)) = args.named.first() {
                fail!("get() takes no keyword arguments ('{name}')");
            }
            let [key, default] = args.bind(name, ["key", "default"])?;
            let Some(key) = key else { fail!("get() misses its argument 'key'") };
            key.check_hashable()?;
            return Ok(dict.get(&key).cloned().or(default).unwrap_or(Value::None));
        }
    };
    args.expect_none(name)?;
    Ok(Value::View(view, Rc::clone(dict)))
}

fn list_method(
    interpreter: &mut Interpreter,
    object: &Value,
    name: &str,
    args: Arguments,
) -> Result<Value> {
    if name == "copy" {
        args.expect_none(name)?;
        return Ok(object.clone());
    }
    let item = args.single(name, "value")?;
    let items = object.items()?;
    interpreter.meter.work(items.len() / 8)?;
    let mut count = 0;
    for (at, candidate) in items.iter().enumerate() {
        if ops::metered_equal(interpreter, candidate, &item)? {
            if name == "index" {
                return Ok(Value::int(at as i128));
            }
            count += 1;
        }
    }
    if name == "index" {
        fail!("the value is not in the {}", object.type_name());
    }
    Ok(Value::int(count))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_names_are_sorted() {
        assert!(super::STRING.is_sorted());
    }
}
