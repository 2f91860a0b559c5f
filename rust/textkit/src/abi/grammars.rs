use std::sync::Arc;

use super::{boxed, guarded, slice, Outcome, Text, View};
use crate::constraint::{Constraint, Grammars, Kind};
use crate::pipeline::Pipeline;

#[no_mangle]
pub unsafe extern "C" fn textkit_grammars_new(
    tokenizer: *const Pipeline,
    rows: u32,
    ends: *const u32,
    end_count: usize,
    error: *mut Text,
) -> *mut Grammars {
    boxed(guarded(error, || {
        Arc::increment_strong_count(tokenizer);
        Grammars::new(Arc::from_raw(tokenizer), rows, slice(ends, end_count))
    }))
}

#[no_mangle]
pub unsafe extern "C" fn textkit_grammars_free(grammars: *mut Grammars) {
    if !grammars.is_null() {
        drop(Box::from_raw(grammars));
    }
}

#[no_mangle]
pub unsafe extern "C" fn textkit_constraint_new(
    grammars: *const Grammars,
    kind: Kind,
    source: View,
    error: *mut Text,
) -> *mut Constraint {
    boxed(guarded(error, || (*grammars).compile(kind, source.text()?)))
}

#[no_mangle]
pub unsafe extern "C" fn textkit_constraint_free(constraint: *mut Constraint) {
    if !constraint.is_null() {
        drop(Box::from_raw(constraint));
    }
}

#[no_mangle]
pub unsafe extern "C" fn textkit_constraint_fork(
    constraint: *const Constraint,
    same_request: bool,
    error: *mut Text,
) -> *mut Constraint {
    boxed(guarded(error, || {
        let constraint = &*constraint;
        Ok(if same_request { constraint.fork() } else { constraint.for_another_request() })
    }))
}

#[no_mangle]
pub unsafe extern "C" fn textkit_constraint_allowed(
    constraint: *mut Constraint,
    words: *mut u32,
    count: usize,
    error: *mut Text,
) -> bool {
    let filled = guarded(error, || {
        let allowed = (*constraint).allowed()?;
        let words = std::slice::from_raw_parts_mut(words, count);
        let from = &allowed.as_slice()[..count.min(allowed.as_slice().len())];
        words[..from.len()].copy_from_slice(from);
        Ok(())
    });
    filled.is_some()
}

#[no_mangle]
pub unsafe extern "C" fn textkit_constraint_forced(
    constraint: *mut Constraint,
    tokens: *mut u32,
    capacity: usize,
    count: *mut usize,
    error: *mut Text,
) -> bool {
    let forced = guarded(error, || {
        let forced = (*constraint).forced()?;
        let taken = capacity.min(forced.len());
        std::slice::from_raw_parts_mut(tokens, taken).copy_from_slice(&forced[..taken]);
        Ok(taken)
    });
    *count = forced.unwrap_or(0);
    forced.is_some()
}

#[no_mangle]
pub unsafe extern "C" fn textkit_constraint_accept(
    constraint: *mut Constraint,
    token: u32,
    error: *mut Text,
) -> Outcome {
    match guarded(error, || (*constraint).accept(token)) {
        Some(true) => Outcome::Done,
        Some(false) => Outcome::Refused,
        None => Outcome::Fault,
    }
}

#[no_mangle]
pub unsafe extern "C" fn textkit_constraint_accept_text(
    constraint: *mut Constraint,
    text: View,
    tokens: *mut usize,
    error: *mut Text,
) -> Outcome {
    match guarded(error, || (*constraint).accept_text(text.bytes())) {
        Some(Some(taken)) => {
            *tokens = taken;
            Outcome::Done
        }
        Some(None) => Outcome::Refused,
        None => Outcome::Fault,
    }
}

#[no_mangle]
pub unsafe extern "C" fn textkit_constraint_roll_back(
    constraint: *mut Constraint,
    tokens: usize,
    error: *mut Text,
) -> bool {
    guarded(error, || (*constraint).roll_back(tokens)).is_some()
}

#[no_mangle]
pub unsafe extern "C" fn textkit_constraint_is_over(constraint: *const Constraint) -> bool {
    (*constraint).is_over()
}
