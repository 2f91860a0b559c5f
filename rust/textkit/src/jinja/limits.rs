//! What a template may use. A template comes with a model, from anybody, so its work, its memory and
//! its output are bounded; the bounds grow with the conversation, since honest work does.

use std::cell::Cell;

use super::error::{Error, Result};

/// Some hundred times what the longest real template takes for a short conversation; a second.
const BASE_FUEL: u64 = 20_000_000;
/// For each byte of the conversation. A message is at least some 30 bytes.
const FUEL_PER_BYTE: u64 = 64;
/// Templates look ahead and back: each pair of messages may cost this, up to `MAX_PAIR_FUEL`.
const FUEL_PER_PAIR: u64 = 16;
const MAX_PAIR_FUEL: u64 = 400_000_000;
const BASE_OUTPUT_BYTES: usize = 1 << 20;
/// A template may write each message this often (twice is common where it looks ahead).
const OUTPUT_PER_BYTE: usize = 8;
const BASE_MEMORY_BYTES: usize = 256 << 20;
const MEMORY_PER_BYTE: usize = 64;

#[derive(Clone, Copy)]
pub struct Limits {
    /// One unit is a step of the interpreter, or `BYTES_PER_UNIT` bytes that are made.
    pub fuel: u64,
    pub output_bytes: usize,
    pub memory_bytes: usize,
}

const BYTES_PER_UNIT: usize = 64;

impl Limits {
    pub fn for_conversation(bytes: usize, messages: usize) -> Limits {
        let messages = messages as u64;
        let pairs = messages.saturating_mul(messages).saturating_mul(FUEL_PER_PAIR);
        Limits {
            fuel: BASE_FUEL + FUEL_PER_BYTE * bytes as u64 + pairs.min(MAX_PAIR_FUEL),
            output_bytes: BASE_OUTPUT_BYTES + OUTPUT_PER_BYTE * bytes,
            memory_bytes: BASE_MEMORY_BYTES + MEMORY_PER_BYTE * bytes,
        }
    }
}

thread_local! {
    static LIVE_BYTES: Cell<usize> = const { Cell::new(0) };
}

/// Bytes that a value holds, counted to its thread from `of` until it is dropped.
#[derive(Default, Debug)]
pub struct Charge(usize);

impl Charge {
    pub fn of(bytes: usize) -> Charge {
        LIVE_BYTES.with(|live| live.set(live.get().wrapping_add(bytes)));
        Charge(bytes)
    }
}

impl Clone for Charge {
    fn clone(&self) -> Charge {
        Charge::of(self.0)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.0 != 0 {
            // A literal of the template may be dropped on another thread than it was read on.
            LIVE_BYTES.with(|live| live.set(live.get().saturating_sub(self.0)));
        }
    }
}

/// What is left of the limits while one rendering runs.
pub struct Meter {
    fuel: u64,
    limits: Limits,
    depth: u32,
}

/// Macros that call themselves, and expressions inside them. CPython gives up at 1000 frames.
const MAX_DEPTH: u32 = 1500;

impl Meter {
    pub fn new(limits: Limits) -> Meter {
        Meter { fuel: limits.fuel, limits, depth: 0 }
    }

    pub fn used(&self) -> u64 {
        self.limits.fuel - self.fuel
    }

    pub fn work(&mut self, units: usize) -> Result<()> {
        match self.fuel.checked_sub(units as u64) {
            Some(left) => self.fuel = left,
            None => {
                self.fuel = 0;
                return Err(Error::limit("it does too much work for these messages"));
            }
        }
        Ok(())
    }

    /// Called before `bytes` are made.
    pub fn reserve(&mut self, bytes: usize) -> Result<()> {
        self.work(bytes / BYTES_PER_UNIT + 1)?;
        let live = LIVE_BYTES.with(Cell::get);
        if bytes > self.limits.memory_bytes || live > self.limits.memory_bytes - bytes {
            let limit = self.limits.memory_bytes >> 20;
            return Err(Error::limit(format!("it needs more than {limit} MiB of memory")));
        }
        Ok(())
    }

    pub fn check_output(&self, bytes: usize) -> Result<()> {
        let limit = self.limits.output_bytes;
        if bytes > limit {
            return Err(Error::limit(format!("it writes more than {limit} bytes")));
        }
        Ok(())
    }

    pub fn enter(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Error::limit("its macros call each other too deep"));
        }
        self.work(1)
    }

    pub fn leave(&mut self) {
        self.depth -= 1;
    }
}
