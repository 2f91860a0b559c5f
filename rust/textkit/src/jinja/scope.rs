//! Where names are looked up. A scope sees what its parent has and keeps what is set in it to
//! itself; each turn of a loop, each macro call and each block has one of its own.

use std::cell::RefCell;
use std::rc::Rc;

use super::value::Value;

/// A name of the template, as a number.
pub type Symbol = u32;

#[derive(Default)]
pub struct Scope {
    names: RefCell<Vec<(Symbol, Value)>>,
    parent: Option<Rc<Scope>>,
}

impl Scope {
    pub fn root() -> Rc<Scope> {
        Rc::default()
    }

    pub fn inside(parent: &Rc<Scope>) -> Rc<Scope> {
        Rc::new(Scope { names: RefCell::default(), parent: Some(Rc::clone(parent)) })
    }

    pub fn set(&self, name: Symbol, value: Value) {
        let mut names = self.names.borrow_mut();
        match names.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => names.push((name, value)),
        }
    }

    pub fn get(&self, name: Symbol) -> Option<Value> {
        let mut scope = self;
        loop {
            let names = scope.names.borrow();
            if let Some((_, value)) = names.iter().find(|(known, _)| *known == name) {
                return Some(value.clone());
            }
            drop(names);
            scope = scope.parent.as_deref()?;
        }
    }

    /// Takes a cycle apart: a macro is kept by the scope that it keeps.
    pub fn clear(&self) {
        let names = std::mem::take(&mut *self.names.borrow_mut());
        drop(names);
    }
}
