//! Chat templates: minijinja set up as `transformers` sets up Jinja2 (trim_blocks, lstrip_blocks,
//! loop controls, `tojson`, `raise_exception`, `strftime_now`), with the methods of Python's
//! strings, lists and dicts. A template is untrusted: instructions, memory and output are bounded.

use std::ffi::CString;
use std::fmt;
use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value};
use minijinja::{context, Environment, Error, ErrorKind, Output, State};

use crate::python;

const NAME: &str = "chat_template";
/// The longest real templates have 30 KB; minijinja takes quadratic time over a long expression.
const MAX_SOURCE_BYTES: usize = 128 << 10;
/// About ten times what the longest real template takes for a hundred messages.
const BASE_FUEL: u64 = 500_000;
/// For each byte of the messages; one unit also pays for 64 bytes that the template makes.
const FUEL_PER_BYTE: u64 = 2;
const BASE_OUTPUT_BYTES: usize = 1 << 20;
/// A template may write each message this often (twice is common where it looks ahead).
const OUTPUT_PER_BYTE: usize = 8;
/// Chains such as a.b.b.b... and lists in lists are walked by recursion, in the parser and when
/// they are freed. Source size and fuel bound their depth, this much stack holds it. Only what is
/// used becomes real memory.
const STACK_BYTES: usize = 256 << 20;

pub type Clock = extern "C" fn(*const std::ffi::c_char, *mut std::ffi::c_char, usize) -> usize;

pub struct Template {
    environment: Environment<'static>,
    bos_token: String,
    eos_token: String,
}

/// The source of an error that raise_exception made.
#[derive(Debug)]
struct Raised(String);

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for Raised {}

/// The template's own words where it raised, else what went wrong and in which line.
fn describe(error: &Error) -> String {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = source {
        if let Some(Raised(message)) = cause.downcast_ref() {
            return message.clone();
        }
        source = cause.source();
    }
    match error.kind() {
        ErrorKind::OutOfFuel => "the chat template does too much work for these messages".into(),
        _ => error.to_string(),
    }
}

/// Runs `work` where deep recursion finds room.
fn with_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work)
            .map_err(|e| format!("no thread to run the chat template: {e}"))?;
        thread.join().map_err(|_| "the chat template broke its interpreter".to_string())
    })
}

impl Template {
    pub fn new(
        source: &str,
        bos_token: &str,
        eos_token: &str,
        clock: Clock,
    ) -> Result<Self, String> {
        if source.len() > MAX_SOURCE_BYTES {
            let size = source.len();
            return Err(format!("the template has {size} bytes, over {MAX_SOURCE_BYTES}"));
        }
        let environment =
            with_deep_stack(|| environment(source, clock).map_err(|e| describe(&e)))??;
        Ok(Template {
            environment,
            bos_token: bos_token.to_string(),
            eos_token: eos_token.to_string(),
        })
    }

    pub fn render(&self, messages_json: &str) -> Result<String, String> {
        with_deep_stack(|| self.render_here(messages_json))?
    }

    fn render_here(&self, messages_json: &str) -> Result<String, String> {
        let messages: Value =
            serde_json::from_str(messages_json).map_err(|e| format!("messages: {e}"))?;
        let context = context! {
            messages,
            add_generation_prompt => true,
            tools => (),
            documents => (),
            bos_token => self.bos_token.as_str(),
            eos_token => self.eos_token.as_str(),
        };
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(BASE_FUEL + FUEL_PER_BYTE * messages_json.len() as u64));
        let template = environment.get_template(NAME).map_err(|e| describe(&e))?;
        let limit = BASE_OUTPUT_BYTES + OUTPUT_PER_BYTE * messages_json.len();
        let mut output = Bounded { bytes: Vec::new(), limit };
        let outcome = template.render_captured_to(context, &mut output).map(|_| ());
        if output.bytes.len() > limit {
            return Err(format!("the chat template writes more than {limit} bytes"));
        }
        outcome.map_err(|e| describe(&e))?;
        String::from_utf8(output.bytes).map_err(|e| e.to_string())
    }
}

/// Refuses to grow beyond `limit` (and is then longer than it, by one byte).
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.limit {
            self.bytes.resize(self.limit + 1, 0);
            return Err(io::Error::other("output limit"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn environment(source: &str, clock: Clock) -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_unknown_method_callback(python::method);
    environment.set_formatter(write_as_python);
    environment.add_filter("tojson", tojson);
    environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
        let error = Error::new(ErrorKind::InvalidOperation, message.clone());
        Err(error.with_source(Raised(message)))
    });
    environment.add_function("strftime_now", move |format: String| format_now(clock, format));
    environment.add_template_owned(NAME, without_generation_tags(source))?;
    Ok(environment)
}

/// None, True and False print as in Python; nothing is escaped.
fn write_as_python(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    if value.is_none() {
        out.write_str("None")?;
        return Ok(());
    }
    match bool::try_from(value.clone()) {
        Ok(truth) if value.kind() == minijinja::value::ValueKind::Bool => {
            out.write_str(if truth { "True" } else { "False" })?;
            Ok(())
        }
        _ => minijinja::escape_formatter(out, state, value),
    }
}

fn tojson(state: &State, value: &Value, options: Kwargs) -> Result<Value, Error> {
    let layout = python::JsonLayout::from_options(&options)?;
    let text = python::to_json(value, &layout)?;
    state.consume_fuel(text.len() as u64 / 8)?;
    Ok(Value::from(text))
}

fn format_now(clock: Clock, format: String) -> Result<String, Error> {
    let wrong = |why: &str| Error::new(ErrorKind::InvalidOperation, format!("strftime_now: {why}"));
    let format = CString::new(format).map_err(|_| wrong("the format holds a NUL"))?;
    let mut text = vec![0u8; 256];
    let size = clock(format.as_ptr(), text.as_mut_ptr().cast(), text.len());
    text.truncate(size);
    String::from_utf8(text).map_err(|_| wrong("the format is not UTF-8"))
}

/// `{% generation %}` marks the assistant's words for training; a block of `if true` renders the
/// same.
fn without_generation_tags(source: &str) -> String {
    let mut result = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(open) = rest.find("{%") {
        let (before, tag) = rest.split_at(open);
        result.push_str(before);
        let Some(close) = tag.find("%}") else {
            rest = tag;
            break;
        };
        let inner = &tag[2..close];
        let name = inner.trim_start_matches(['-', '+']).trim_end_matches(['-', '+']).trim();
        match name {
            "generation" => {
                result.push_str("{%");
                result.push_str(&inner.replace("generation", " if true "));
            }
            "endgeneration" => {
                result.push_str("{%");
                result.push_str(&inner.replace("endgeneration", " endif "));
            }
            _ => result.push_str(&tag[..close]),
        }
        result.push_str("%}");
        rest = &tag[close + 2..];
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    extern "C" fn noon(
        _format: *const std::ffi::c_char,
        out: *mut std::ffi::c_char,
        _capacity: usize,
    ) -> usize {
        for (i, byte) in b"noon".iter().enumerate() {
            // SAFETY: the caller gives 256 bytes.
            unsafe { *out.add(i) = *byte as std::ffi::c_char };
        }
        4
    }

    fn render(source: &str, messages: &str) -> Result<String, String> {
        Template::new(source, "<s>", "</s>", noon)?.render(messages)
    }

    #[test]
    fn renders_as_transformers_does() {
        let source = "{{ bos_token }}{% for m in messages %}\n    {%- if m.role == 'user' %}\n\
                      U:{{ m['content'].strip().split(' ')[0] }}{{ '\\n' }}\n    {% endif %}\n\
                      {% generation %}g{% endgeneration %}{% endfor %}{{ strftime_now('%H') }}";
        let messages = r#"[{"role":"user","content":" hi you "}]"#;
        assert_eq!(render(source, messages).unwrap(), "<s>U:hi\n\ngnoon");
    }

    #[test]
    fn an_error_is_the_templates_own() {
        let error = render("{{ raise_exception('roles must alternate') }}", "[]").unwrap_err();
        assert_eq!(error, "roles must alternate");
    }

    #[test]
    fn endless_work_and_output_are_stopped() {
        let loops = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
        assert!(render(loops, "[]").unwrap_err().contains("too much work"));
        let output = "{% for a in range(9999) %}{{ 'x' * 9999 }}{% endfor %}";
        assert!(render(output, "[]").unwrap_err().contains("writes more than"));
        assert!(render("{{ 'x' * 99999999999 }}", "[]").is_err());
    }

    #[test]
    fn deep_nesting_is_an_error_or_works_but_never_overflows() {
        let nest = "{% set n = namespace(x=[]) %}{% for a in range(9999) %}\
                    {% for b in range(9999) %}{% set n.x = [n.x] %}{% endfor %}{% endfor %}";
        assert!(render(nest, "[]").is_err());
        let print = "{% set n = namespace(x=[]) %}{% for a in range(50000) %}\
                     {% set n.x = [n.x] %}{% endfor %}{{ n.x }}{{ n.x|tojson }}";
        assert!(render(print, "[]").is_err());
        for link in [".a", "|trim", "[0]", "()", " is defined", "+1", "~1", " and 1"] {
            let size = if link.starts_with(['.', '|', '[']) { 120_000 } else { 10_000 };
            let _ = render(&format!("{{{{ a{} }}}}", link.repeat(size / link.len())), "[]");
        }
        for open in ["(", "[", "{% if a %}", "{% for a in b %}", "not ", "-", "{a:"] {
            let _ = render(&format!("{{{{ {}", open.repeat(120_000 / open.len())), "[]");
        }
    }
}
