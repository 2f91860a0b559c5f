//! Filters over sequences.

use std::cmp::Ordering;

use super::super::ast::{FilterFn, TestFn};
use super::super::calls::{whole, Arguments};
use super::super::error::{fail, Error, Result};
use super::super::eval::Interpreter;
use super::super::members::slice_text;
use super::super::ops;
use super::super::tests;
use super::super::value::{pairs, Dict, Value};
use super::{folded, Getter};

fn truth(value: &Option<Value>) -> bool {
    value.as_ref().is_some_and(Value::truth)
}

pub fn first(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    args.expect_none("first")?;
    let first = match &value {
        Value::Iterator(generator) => generator.next(),
        Value::Str(text) => {
            let bounds = [Value::None, Value::int(1), Value::None];
            Some(slice_text(interpreter, text, &bounds)?).filter(Value::truth)
        }
        _ => value.items()?.first().cloned(),
    };
    Ok(first.unwrap_or_else(|| Value::undefined("the first of no items")))
}

pub fn last(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    args.expect_none("last")?;
    let last = match &value {
        Value::Iterator(_) => fail!("'generator' object is not reversible"),
        Value::Str(text) => {
            let bounds = [Value::int(-1), Value::None, Value::None];
            Some(slice_text(interpreter, text, &bounds)?).filter(Value::truth)
        }
        _ => value.items()?.last().cloned(),
    };
    Ok(last.unwrap_or_else(|| Value::undefined("the last of no items")))
}

pub fn reverse(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    args.expect_none("reverse")?;
    if let Value::Str(text) = &value {
        return slice_text(interpreter, text, &[Value::None, Value::None, Value::int(-1)]);
    }
    let mut items = value.items()?.to_vec();
    interpreter.meter.reserve(items.len() * 8)?;
    items.reverse();
    match value {
        // What cannot be walked backwards becomes a list first.
        Value::Iterator(_) => Value::list(items),
        _ => Value::iterator(items),
    }
}

/// sorted(), by the keys: stable, also from the end.
fn sort_by_keys(
    interpreter: &mut Interpreter,
    mut keyed: Vec<(Value, Value)>,
    reverse: bool,
) -> Result<Vec<(Value, Value)>> {
    interpreter.meter.reserve(keyed.len() * 16)?;
    let mut failed: Option<Box<Error>> = None;
    keyed.sort_by(|a, b| {
        if failed.is_some() {
            return Ordering::Equal;
        }
        let order =
            interpreter.meter.work(1).and_then(|()| ops::order(interpreter, "<", &a.0, &b.0));
        match order {
            Ok(order) if reverse => order.unwrap_or(Ordering::Equal).reverse(),
            Ok(order) => order.unwrap_or(Ordering::Equal),
            Err(error) => {
                failed = Some(error);
                Ordering::Equal
            }
        }
    });
    failed.map_or(Ok(keyed), Err)
}

pub fn sort(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    let names = ["reverse", "case_sensitive", "attribute"];
    let [reverse, case_sensitive, attribute] = args.bind("sort", names)?;
    let getters: Vec<Getter> = match &attribute {
        Some(Value::Str(names)) => {
            let names = names.as_str().split(',').map(Value::own);
            names.map(|name| Getter::new(Some(&name), None)).collect()
        }
        other => vec![Getter::new(other.as_ref(), None)],
    };
    let mut keyed = Vec::new();
    for item in value.items()?.iter() {
        let mut keys = Vec::with_capacity(getters.len());
        for getter in &getters {
            keys.push(folded(getter.get(interpreter, item)?, truth(&case_sensitive)));
        }
        keyed.push((Value::list(keys)?, item.clone()));
    }
    let sorted = sort_by_keys(interpreter, keyed, truth(&reverse))?;
    Value::list(sorted.into_iter().map(|(_, item)| item).collect())
}

pub fn dictsort(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    let [case_sensitive, by, reverse] =
        args.bind("dictsort", ["case_sensitive", "by", "reverse"])?;
    let by_key = match by.as_ref().map(Value::as_str) {
        None | Some(Some("key")) => true,
        Some(Some("value")) => false,
        _ => fail!("You can only sort by either \"key\" or \"value\""),
    };
    let Value::Dict(dict) = &value else {
        fail!("dictsort() takes a mapping, not {}", value.type_name());
    };
    let keyed = pairs(dict)?.into_iter().zip(dict.entries()).map(|(pair, (key, value))| {
        let by = if by_key { key } else { value };
        (folded(by.clone(), truth(&case_sensitive)), pair)
    });
    let sorted = sort_by_keys(interpreter, keyed.collect(), truth(&reverse))?;
    Value::list(sorted.into_iter().map(|(_, pair)| pair).collect())
}

pub fn groupby(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    let [attribute, default, case_sensitive] =
        args.bind("groupby", ["attribute", "default", "case_sensitive"])?;
    if attribute.is_none() {
        fail!("groupby() misses its argument 'attribute'");
    }
    let getter = Getter::new(attribute.as_ref(), default);
    let mut keyed = Vec::new();
    for item in value.items()?.iter() {
        let key = folded(getter.get(interpreter, item)?, truth(&case_sensitive));
        keyed.push((key, item.clone()));
    }
    let sorted = sort_by_keys(interpreter, keyed, false)?;
    let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
    for (key, item) in sorted {
        match groups.last_mut() {
            Some((last, items)) if ops::metered_equal(interpreter, last, &key)? => items.push(item),
            _ => groups.push((key, vec![item])),
        }
    }
    let mut out = Vec::with_capacity(groups.len());
    for (_, items) in groups {
        let name = getter.get(interpreter, &items[0])?;
        out.push(Value::tuple(vec![name, Value::list(items)?])?);
    }
    Value::list(out)
}

pub fn unique(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    let [case_sensitive, attribute] = args.bind("unique", ["case_sensitive", "attribute"])?;
    let getter = Getter::new(attribute.as_ref(), None);
    let mut seen = Dict::default();
    let mut kept = Vec::new();
    for item in value.items()?.iter() {
        let key = folded(getter.get(interpreter, item)?, truth(&case_sensitive));
        interpreter.meter.work(if key.as_str().is_some() { 1 } else { 1 + kept.len() / 8 })?;
        key.check_hashable()?;
        if seen.get(&key).is_none() {
            seen.insert(key, Value::None)?;
            kept.push(item.clone());
        }
    }
    Value::iterator(kept)
}

fn extreme(
    interpreter: &mut Interpreter,
    value: Value,
    args: Arguments,
    wanted: Ordering,
) -> Result<Value> {
    let [case_sensitive, attribute] = args.bind("min/max", ["case_sensitive", "attribute"])?;
    let getter = Getter::new(attribute.as_ref(), None);
    let mut best: Option<(Value, Value)> = None;
    for item in value.items()?.iter() {
        let key = folded(getter.get(interpreter, item)?, truth(&case_sensitive));
        let better = match &best {
            None => true,
            Some((best, _)) => ops::order(interpreter, "<", &key, best)? == Some(wanted),
        };
        if better {
            best = Some((key, item.clone()));
        }
    }
    let none = || Value::undefined("the extreme of no items");
    Ok(best.map_or_else(none, |(_, item)| item))
}

pub fn min(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    extreme(interpreter, value, args, Ordering::Less)
}

pub fn max(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    extreme(interpreter, value, args, Ordering::Greater)
}

pub fn sum(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    let [attribute, start] = args.bind("sum", ["attribute", "start"])?;
    let getter = Getter::new(attribute.as_ref(), None);
    let mut total = start.unwrap_or_else(|| Value::int(0));
    if total.as_str().is_some() {
        fail!("sum() can't sum strings");
    }
    for item in value.items()?.iter() {
        let item = getter.get(interpreter, item)?;
        total = ops::binary(interpreter, super::super::ast::Binary::Add, &total, &item)?;
    }
    Ok(total)
}

pub fn batch(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    let [count, fill] = args.bind("batch", ["linecount", "fill_with"])?;
    let Some(count) = count else { fail!("batch() misses its argument 'linecount'") };
    let count = usize::try_from(whole(&count, "batch()'s linecount")?).unwrap_or(0);
    let items = value.items()?;
    interpreter.meter.reserve(items.len() * 16)?;
    if count == 0 {
        // No row is ever as long as that, but for the empty one that comes first.
        let rows = if items.is_empty() {
            Vec::new()
        } else {
            vec![Value::list(Vec::new())?, Value::list(items.to_vec())?]
        };
        return Value::iterator(rows);
    }
    let fill = fill.filter(|fill| !matches!(fill, Value::None));
    let mut rows = Vec::new();
    for row in items.chunks(count) {
        let mut row = row.to_vec();
        if let Some(fill) = &fill {
            interpreter.meter.reserve((count - row.len()).saturating_mul(32))?;
            row.resize(count, fill.clone());
        }
        rows.push(Value::list(row)?);
    }
    Value::iterator(rows)
}

pub fn slice(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    let [slices, fill] = args.bind("slice", ["slices", "fill_with"])?;
    let Some(slices) = slices else { fail!("slice() misses its argument 'slices'") };
    let slices = whole(&slices, "slice()'s slices")?;
    if slices == 0 {
        fail!("integer division or modulo by zero");
    }
    let slices = usize::try_from(slices).unwrap_or(0);
    let items = value.items()?;
    interpreter.meter.reserve(slices.saturating_mul(64).saturating_add(items.len() * 8))?;
    if slices == 0 {
        return Value::iterator(Vec::new());
    }
    let fill = fill.filter(|fill| !matches!(fill, Value::None));
    let (size, longer) = (items.len() / slices, items.len() % slices);
    let mut out = Vec::with_capacity(slices);
    let mut from = 0;
    for i in 0..slices {
        let to = from + size + usize::from(i < longer);
        let mut part = items[from..to].to_vec();
        if i >= longer {
            part.extend(fill.clone());
        }
        out.push(Value::list(part)?);
        from = to;
    }
    Value::iterator(out)
}

/// What map and select go over: nothing, also where the value is false and no sequence.
fn items_if_true(value: &Value) -> Result<Vec<Value>> {
    Ok(if value.truth() { value.items()?.to_vec() } else { Vec::new() })
}

pub fn map(interpreter: &mut Interpreter, value: Value, mut args: Arguments) -> Result<Value> {
    let by_attribute =
        args.positional.is_empty() && args.named.iter().any(|(name, _)| &**name == "attribute");
    if by_attribute {
        let [attribute, default] = Arguments { positional: Vec::new(), named: args.named }
            .bind("map", ["attribute", "default"])?;
        let getter = Getter::new(attribute.as_ref(), default);
        let mut out = Vec::new();
        for item in &items_if_true(&value)? {
            out.push(getter.get(interpreter, item)?);
        }
        return Value::iterator(out);
    }
    if args.positional.is_empty() {
        fail!("map requires a filter argument");
    }
    let name = args.positional.remove(0);
    let run: Option<FilterFn> = name.as_str().and_then(super::by_name);
    let Some(run) = run else { fail!("map(): no such filter") };
    let mut out = Vec::new();
    for item in &items_if_true(&value)? {
        interpreter.meter.work(1)?;
        let args = Arguments { positional: args.positional.clone(), named: args.named.clone() };
        out.push(run(interpreter, item.clone(), args)?);
    }
    Value::iterator(out)
}

/// select, reject and the same by an attribute.
fn choose(
    interpreter: &mut Interpreter,
    value: Value,
    args: Arguments,
    by_attribute: bool,
    wanted: bool,
) -> Result<Value> {
    if let Some((name, _)) = args.named.first() {
        fail!("select() and reject() take no argument '{name}'");
    }
    let mut args = args.positional;
    let getter = if by_attribute {
        if args.is_empty() {
            fail!("Missing parameter for attribute name");
        }
        Getter::new(Some(&args.remove(0)), None)
    } else {
        Getter::new(None, None)
    };
    let test: Option<TestFn> = if args.is_empty() {
        None
    } else {
        let name = args.remove(0);
        match name.as_str().and_then(tests::by_name) {
            Some(test) => Some(test),
            None => fail!("select() and reject(): no such test"),
        }
    };
    let mut kept = Vec::new();
    for item in &items_if_true(&value)? {
        interpreter.meter.work(1)?;
        let tested = getter.get(interpreter, item)?;
        let holds = match test {
            Some(test) => test(interpreter, &tested, &args)?,
            None => tested.truth(),
        };
        if holds == wanted {
            kept.push(item.clone());
        }
    }
    Value::iterator(kept)
}

pub fn select(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    choose(interpreter, value, args, false, true)
}

pub fn reject(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    choose(interpreter, value, args, false, false)
}

pub fn selectattr(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    choose(interpreter, value, args, true, true)
}

pub fn rejectattr(interpreter: &mut Interpreter, value: Value, args: Arguments) -> Result<Value> {
    choose(interpreter, value, args, true, false)
}
