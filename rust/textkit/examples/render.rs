//! Renders chat templates for tests/conformance/test_templates.py: each line of standard input is a
//! JSON object of `template`, `document` and `tokens`; each line of output has `text` and `client`,
//! or `error`.

use std::ffi::{c_char, CStr};
use std::io::{BufRead, Write};

use serde_json::{json, Value};
use textkit::template::{Failure, Template};

extern "C" fn fixed_clock(format: *const c_char, out: *mut c_char, _capacity: usize) -> usize {
    // SAFETY: the format is NUL-terminated, and `out` has 256 bytes.
    let format = unsafe { CStr::from_ptr(format) };
    for (i, byte) in format.to_bytes().iter().take(256).enumerate() {
        unsafe { *out.add(i) = *byte as c_char };
    }
    format.to_bytes().len().min(256)
}

fn render(line: &str) -> Result<Value, Box<dyn std::error::Error>> {
    let request: Value = serde_json::from_str(line)?;
    let source = request["template"].as_str().ok_or("no template")?;
    let tokens = request["tokens"].as_object().into_iter().flatten();
    let tokens = tokens.map(|(name, text)| (name.clone(), text.as_str().unwrap_or("").to_string()));
    let template = match Template::new(source, tokens.collect(), fixed_clock) {
        Ok(template) => template,
        Err(why) => return Ok(json!({"error": format!("syntax: {why}")})),
    };
    Ok(match template.render(&request["document"].to_string()) {
        Ok(rendered) => {
            let client: Vec<[usize; 2]> =
                rendered.client.iter().map(|range| [range.start, range.end]).collect();
            json!({"text": rendered.text, "client": client})
        }
        Err(Failure::Refused(why)) => json!({"error": why}),
        Err(Failure::Fault(why)) => json!({"fault": why}),
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        writeln!(out, "{}", render(&line?)?)?;
        out.flush()?;
    }
    Ok(())
}
