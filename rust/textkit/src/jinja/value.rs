//! The values of templates: Python's, as far as templates see them. Lists and dicts cannot be
//! changed (transformers renders in an immutable sandbox), so they are shared, never copied.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::ast::{ForLoop, Macro as MacroCode};
use super::error::{fail, Result};
use super::limits::Charge;
use super::scope::Scope;
use super::text::{count_chars, Origin, Text};

/// Deeper ones are made by a template that means harm; walks over values recurse.
pub const MAX_VALUE_DEPTH: u16 = 200;

#[derive(Clone)]
pub enum Value {
    /// With the name that it was looked up by.
    Undefined(Arc<str>),
    None,
    Bool(bool),
    Int(i128, Origin),
    Float(f64, Origin),
    Str(Arc<Text>),
    List(Rc<Items>),
    Tuple(Rc<Items>),
    Dict(Rc<Dict>),
    View(View, Rc<Dict>),
    Range(Range),
    /// A generator: gives its items once, and has no length.
    Iterator(Rc<Generator>),
    /// Index into the interpreter's namespaces: these alone can be changed, so they would be the
    /// one way to make a cycle.
    Namespace(usize),
    Macro(Rc<Macro>),
    Function(Function),
    Method(Rc<Method>),
    Loop(Rc<Loop>),
    Cycler(Rc<Cycler>),
    Joiner(Rc<Joiner>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    Keys,
    Values,
    Items,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Function {
    Range,
    Dict,
    Namespace,
    Cycler,
    Joiner,
    RaiseException,
    StrftimeNow,
}

#[derive(Default)]
pub struct Items {
    items: Vec<Value>,
    depth: u16,
    _charge: Charge,
}

impl std::ops::Deref for Items {
    type Target = [Value];
    fn deref(&self) -> &[Value] {
        &self.items
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub start: i128,
    pub stop: i128,
    pub step: i128,
    pub len: usize,
}

impl Range {
    pub fn get(&self, index: usize) -> Value {
        Value::int(self.start + self.step * index as i128)
    }
}

pub struct Generator {
    items: RefCell<std::vec::IntoIter<Value>>,
    depth: u16,
}

impl Generator {
    pub fn next(&self) -> Option<Value> {
        self.items.borrow_mut().next()
    }
}

pub struct Macro {
    pub code: Arc<MacroCode>,
    /// Where it was defined: what its body sees.
    pub scope: Rc<Scope>,
}

pub struct Method {
    pub object: Value,
    pub name: Arc<str>,
}

/// The `loop` of a for loop.
pub struct Loop {
    pub items: Rc<Items>,
    pub index: Cell<usize>,
    pub depth: usize,
    pub changed: RefCell<Option<Vec<Value>>>,
    /// Of `{% for ... recursive %}`: what calling `loop` runs, and the scope around it.
    pub recursion: Option<(Arc<ForLoop>, Rc<Scope>)>,
}

pub struct Cycler {
    pub items: Rc<Items>,
    pub at: Cell<usize>,
}

pub struct Joiner {
    pub separator: Arc<Text>,
    pub used: Cell<bool>,
}

/// Keys in the order of their first insertion. A key that is text is found by hash once there are
/// more than a few; std's hash has a random key, as clients choose these texts.
#[derive(Default)]
pub struct Dict {
    entries: Vec<(Value, Value)>,
    by_text: HashMap<Arc<str>, usize>,
    depth: u16,
    _charge: Charge,
}

const SCANNED_ENTRIES: usize = 8;

impl Dict {
    pub fn from_entries(entries: impl IntoIterator<Item = (Value, Value)>) -> Result<Value> {
        let mut dict = Dict::default();
        for (key, value) in entries {
            dict.insert(key, value)?;
        }
        dict.finish()
    }

    pub fn insert(&mut self, key: Value, value: Value) -> Result<()> {
        key.check_hashable()?;
        match self.position(&key) {
            Some(at) => self.entries[at].1 = value,
            None => {
                self.entries.push((key, value));
                if self.entries.len() > SCANNED_ENTRIES {
                    self.index_new_entries();
                }
            }
        }
        Ok(())
    }

    fn index_new_entries(&mut self) {
        let first = if self.by_text.is_empty() { 0 } else { self.entries.len() - 1 };
        for (at, (key, _)) in self.entries.iter().enumerate().skip(first) {
            if let Value::Str(text) = key {
                self.by_text.insert(text.as_str().into(), at);
            }
        }
    }

    pub fn finish(mut self) -> Result<Value> {
        let deepest = self.entries.iter().map(|(k, v)| k.depth().max(v.depth())).max();
        self.depth = deeper(deepest.unwrap_or(0))?;
        self._charge = Charge::of(64 + self.entries.len() * 2 * std::mem::size_of::<Value>());
        Ok(Value::Dict(Rc::new(self)))
    }

    fn position(&self, key: &Value) -> Option<usize> {
        match key {
            Value::Str(text) => self.position_of_text(text.as_str()),
            _ => self.entries.iter().position(|(k, _)| equal(k, key)),
        }
    }

    fn position_of_text(&self, key: &str) -> Option<usize> {
        if self.entries.len() > SCANNED_ENTRIES {
            return self.by_text.get(key).copied();
        }
        self.entries.iter().position(|(k, _)| matches!(k, Value::Str(t) if t.as_str() == key))
    }

    pub fn get(&self, key: &Value) -> Option<&Value> {
        self.position(key).map(|at| &self.entries[at].1)
    }

    pub fn get_text(&self, key: &str) -> Option<&Value> {
        self.position_of_text(key).map(|at| &self.entries[at].1)
    }

    pub fn entries(&self) -> &[(Value, Value)] {
        &self.entries
    }
}

fn deeper(depth: u16) -> Result<u16> {
    if depth >= MAX_VALUE_DEPTH {
        fail!("values are nested deeper than {MAX_VALUE_DEPTH} levels");
    }
    Ok(depth + 1)
}

fn items(items: Vec<Value>) -> Result<Rc<Items>> {
    let depth = deeper(items.iter().map(Value::depth).max().unwrap_or(0))?;
    let charge = Charge::of(64 + items.capacity() * std::mem::size_of::<Value>());
    Ok(Rc::new(Items { items, depth, _charge: charge }))
}

impl Value {
    pub fn undefined(name: impl Into<Arc<str>>) -> Value {
        Value::Undefined(name.into())
    }

    pub fn int(value: i128) -> Value {
        Value::Int(value, Origin::Template)
    }

    pub fn text(text: Text) -> Value {
        Value::Str(Arc::new(text.charged()))
    }

    pub fn own(text: impl Into<String>) -> Value {
        Value::text(Text::of(text, Origin::Template))
    }

    pub fn list(values: Vec<Value>) -> Result<Value> {
        Ok(Value::List(items(values)?))
    }

    pub fn tuple(values: Vec<Value>) -> Result<Value> {
        Ok(Value::Tuple(items(values)?))
    }

    pub fn iterator(values: Vec<Value>) -> Result<Value> {
        let depth = deeper(values.iter().map(Value::depth).max().unwrap_or(0))?;
        Ok(Value::Iterator(Rc::new(Generator { items: RefCell::new(values.into_iter()), depth })))
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(text) => Some(text.as_str()),
            _ => None,
        }
    }

    pub fn is_undefined(&self) -> bool {
        matches!(self, Value::Undefined(_))
    }

    pub fn origin(&self) -> Origin {
        match self {
            Value::Int(_, origin) | Value::Float(_, origin) => *origin,
            Value::Str(text) => text.origin(),
            _ => Origin::Template,
        }
    }

    /// How deep values lie in each other.
    fn depth(&self) -> u16 {
        match self {
            Value::List(items) | Value::Tuple(items) => items.depth,
            Value::Dict(dict) | Value::View(_, dict) => dict.depth,
            Value::Iterator(generator) => generator.depth,
            Value::Method(method) => method.object.depth(),
            Value::Loop(state) => state.items.depth,
            Value::Cycler(cycler) => cycler.items.depth,
            _ => 0,
        }
    }

    /// Python's name of the type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Undefined(_) => "Undefined",
            Value::None => "NoneType",
            Value::Bool(_) => "bool",
            Value::Int(..) => "int",
            Value::Float(..) => "float",
            Value::Str(_) => "str",
            Value::List(_) => "list",
            Value::Tuple(_) => "tuple",
            Value::Dict(_) => "dict",
            Value::View(View::Keys, _) => "dict_keys",
            Value::View(View::Values, _) => "dict_values",
            Value::View(View::Items, _) => "dict_items",
            Value::Range(_) => "range",
            Value::Iterator(_) => "generator",
            Value::Namespace(_) => "Namespace",
            Value::Macro(_) => "Macro",
            Value::Function(_) => "function",
            Value::Method(_) => "method",
            Value::Loop(_) => "LoopContext",
            Value::Cycler(_) => "Cycler",
            Value::Joiner(_) => "Joiner",
        }
    }

    pub fn truth(&self) -> bool {
        match self {
            Value::Undefined(_) | Value::None => false,
            Value::Bool(value) => *value,
            Value::Int(value, _) => *value != 0,
            Value::Float(value, _) => *value != 0.0,
            Value::Str(text) => !text.is_empty(),
            Value::List(items) | Value::Tuple(items) => !items.is_empty(),
            Value::Dict(dict) | Value::View(_, dict) => !dict.entries.is_empty(),
            Value::Range(range) => range.len > 0,
            Value::Loop(state) => !state.items.is_empty(),
            _ => true,
        }
    }

    /// Python's len().
    pub fn len(&self) -> Result<usize> {
        Ok(match self {
            Value::Undefined(_) => 0,
            Value::Str(text) => count_chars(text.as_str()),
            Value::List(items) | Value::Tuple(items) => items.len(),
            Value::Dict(dict) | Value::View(_, dict) => dict.entries.len(),
            Value::Range(range) => range.len,
            Value::Loop(state) => state.items.len(),
            _ => fail!("object of type '{}' has no len()", self.type_name()),
        })
    }

    pub fn is_iterable(&self) -> bool {
        use Value::*;
        matches!(
            self,
            Undefined(_)
                | Str(_)
                | List(_)
                | Tuple(_)
                | Dict(_)
                | View(..)
                | Range(_)
                | Iterator(_)
                | Loop(_)
        )
    }

    /// What iterating over it gives. A generator is used up.
    pub fn items(&self) -> Result<Rc<Items>> {
        let values = match self {
            Value::List(items) | Value::Tuple(items) => return Ok(Rc::clone(items)),
            Value::Undefined(_) => Vec::new(),
            Value::Str(text) => characters(text),
            Value::Dict(dict) | Value::View(View::Keys, dict) => {
                dict.entries.iter().map(|(key, _)| key.clone()).collect()
            }
            Value::View(View::Values, dict) => {
                dict.entries.iter().map(|(_, value)| value.clone()).collect()
            }
            Value::View(View::Items, dict) => pairs(dict)?,
            Value::Range(range) => (0..range.len).map(|i| range.get(i)).collect(),
            Value::Iterator(generator) => std::iter::from_fn(|| generator.next()).collect(),
            _ => fail!("'{}' object is not iterable", self.type_name()),
        };
        items(values)
    }

    pub fn check_hashable(&self) -> Result<()> {
        match self {
            Value::List(_) | Value::Dict(_) => {
                fail!("unhashable type: '{}'", self.type_name())
            }
            Value::Tuple(items) => items.iter().try_for_each(Value::check_hashable),
            _ => Ok(()),
        }
    }
}

fn characters(text: &Text) -> Vec<Value> {
    text.chars()
        .map(|(c, origin)| Value::text(Text::of(c.encode_utf8(&mut [0; 4]) as &str, origin)))
        .collect()
}

pub fn pairs(dict: &Dict) -> Result<Vec<Value>> {
    dict.entries.iter().map(|(key, value)| Value::tuple(vec![key.clone(), value.clone()])).collect()
}

/// Whether an int and a float are the same number.
fn same_number(int: i128, float: f64) -> bool {
    float == int as f64 && float as i128 == int
}

/// The number that a value is in arithmetic: bools are ints.
#[derive(Clone, Copy)]
pub enum Number {
    Int(i128),
    Float(f64),
}

impl Number {
    pub fn of(value: &Value) -> Option<Number> {
        match value {
            Value::Bool(value) => Some(Number::Int(i128::from(*value))),
            Value::Int(value, _) => Some(Number::Int(*value)),
            Value::Float(value, _) => Some(Number::Float(*value)),
            _ => None,
        }
    }

    pub fn as_f64(self) -> f64 {
        match self {
            Number::Int(value) => value as f64,
            Number::Float(value) => value,
        }
    }
}

/// Python's ==.
pub fn equal(a: &Value, b: &Value) -> bool {
    if let (Some(a), Some(b)) = (Number::of(a), Number::of(b)) {
        return match (a, b) {
            (Number::Int(a), Number::Int(b)) => a == b,
            (Number::Float(a), Number::Float(b)) => a == b,
            (Number::Int(i), Number::Float(f)) | (Number::Float(f), Number::Int(i)) => {
                same_number(i, f)
            }
        };
    }
    let all_equal =
        |a: &[Value], b: &[Value]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b));
    match (a, b) {
        (Value::None, Value::None) | (Value::Undefined(_), Value::Undefined(_)) => true,
        (Value::Str(a), Value::Str(b)) => a.as_str() == b.as_str(),
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => all_equal(a, b),
        (Value::Dict(a), Value::Dict(b)) => {
            a.entries.len() == b.entries.len()
                && a.entries.iter().all(|(k, v)| b.get(k).is_some_and(|other| equal(v, other)))
        }
        (Value::Range(a), Value::Range(b)) => {
            a.len == b.len && (a.len == 0 || a.start == b.start && (a.len == 1 || a.step == b.step))
        }
        _ => same_object(a, b),
    }
}

/// Python's `is`.
pub fn same_object(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::None, Value::None) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a, _), Value::Int(b, _)) => a == b,
        (Value::Str(a), Value::Str(b)) => a.as_str() == b.as_str(),
        (Value::Undefined(a), Value::Undefined(b)) => Arc::ptr_eq(a, b),
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => Rc::ptr_eq(a, b),
        (Value::Dict(a), Value::Dict(b)) => Rc::ptr_eq(a, b),
        (Value::Namespace(a), Value::Namespace(b)) => a == b,
        (Value::Macro(a), Value::Macro(b)) => Rc::ptr_eq(a, b),
        (Value::Function(a), Value::Function(b)) => a == b,
        (Value::Iterator(a), Value::Iterator(b)) => Rc::ptr_eq(a, b),
        (Value::Loop(a), Value::Loop(b)) => Rc::ptr_eq(a, b),
        _ => false,
    }
}
