//! Chat templates: a document of messages, tools and further variables becomes a prompt's text, and
//! beside it the ranges of bytes that the client chose. A template is untrusted (jinja/limits.rs).

use std::ffi::CString;
use std::ops::Range;

use crate::conversation::Shape;
use crate::deep_stack::with_deep_stack;
use crate::jinja::{parse_json, Kind, Limits, Program, Text, Value};
use crate::tools_in_words::ToolsInWords;

/// The longest real templates have 30 KB.
const MAX_SOURCE_BYTES: usize = 128 << 10;
/// What the trials of a template that is loaded may take, each.
const PROBE_FUEL: u64 = 2_000_000;

pub type Clock = extern "C" fn(*const std::ffi::c_char, *mut std::ffi::c_char, usize) -> usize;

pub struct Template {
    program: Program,
    /// Special tokens by the names that templates know them by: bos_token, eos_token, ...
    tokens: Vec<(String, String)>,
    clock: Clock,
    shape: Shape,
    /// None for a template that tells the model of tools itself.
    tools_in_words: Option<ToolsInWords>,
}

#[derive(Debug, PartialEq)]
pub struct Rendered {
    pub text: String,
    /// Ascending, none empty, no two touch.
    pub client: Vec<Range<usize>>,
}

#[derive(Debug, PartialEq)]
pub enum Failure {
    /// The template does not take this conversation: its own words where it raised, else the line
    /// and what is wrong there.
    Refused(String),
    /// Nothing that the conversation or the template could help.
    Fault(String),
}

fn refused(message: impl Into<String>) -> Failure {
    Failure::Refused(message.into())
}

impl Template {
    pub fn new(
        source: &str,
        tokens: Vec<(String, String)>,
        clock: Clock,
    ) -> Result<Template, String> {
        if source.len() > MAX_SOURCE_BYTES {
            let size = source.len();
            return Err(format!("the template has {size} bytes, over {MAX_SOURCE_BYTES}"));
        }
        with_deep_stack(|| {
            let program = Program::new(source).map_err(|e| e.to_string())?;
            let shape = detect(&program, &tokens, clock);
            let in_words = (!shape.tools).then(ToolsInWords::new).transpose();
            let tools_in_words = in_words.map_err(|e| e.to_string())?;
            Ok(Template { program, tokens, clock, shape, tools_in_words })
        })?
    }

    /// `document`: a JSON object of `messages` and, where wanted, `tools`, `documents`,
    /// `add_generation_prompt` (true), `continue_final_message` (false),
    /// `chat_template_kwargs`, an object of further variables, and `tools_in_words` (false): where
    /// the template knows no tools, they are told in the messages.
    pub fn render(&self, document: &str) -> Result<Rendered, Failure> {
        with_deep_stack(|| self.render_here(document)).map_err(Failure::Fault)?
    }

    fn render_here(&self, json: &str) -> Result<Rendered, Failure> {
        let document = parse_json(json).map_err(refused)?;
        let Value::Dict(document) = &document else {
            return Err(refused("the document is not an object"));
        };
        let get = |name: &str| document.get_text(name).cloned().unwrap_or(Value::None);
        let mut messages = match get("messages") {
            messages @ Value::List(_) => messages,
            _ => return Err(refused("'messages' is not a list")),
        };
        let mut tools = get("tools");
        let count = messages.len().unwrap_or(0);
        let limits = Limits::for_conversation(json.len(), count);
        if let (Some(in_words), true) = (&self.tools_in_words, get("tools_in_words").truth()) {
            let run = |program: &Program, variable: (&str, Value)| {
                render(program, &self.tokens, &[variable], self.clock, limits)
            };
            let put = in_words.put(&messages, &tools, self.shape.has_system, &run);
            messages = put.map_err(|e| refused(e.message))?;
            tools = Value::None;
        }
        let adapted = self.shape.adapt(&messages).map_err(|e| refused(e.message))?;
        let continues = get("continue_final_message").truth();
        let begins = document.get_text("add_generation_prompt").is_none_or(Value::truth);
        let mut variables = vec![
            ("messages", adapted.clone()),
            ("tools", tools),
            ("documents", get("documents")),
            ("add_generation_prompt", Value::Bool(begins && !continues)),
        ];
        let extra = get("chat_template_kwargs");
        if let Value::Dict(extra) = &extra {
            for (key, value) in extra.entries() {
                let key = key.as_str().unwrap_or_default();
                if variables[..4].iter().any(|(name, _)| *name == key) {
                    return Err(refused(format!("'chat_template_kwargs' cannot set '{key}'")));
                }
                variables.push((key, value.clone()));
            }
        }
        let mut text = render(&self.program, &self.tokens, &variables, self.clock, limits)
            .map_err(|error| match error.kind {
                Kind::Raised => refused(error.message),
                _ => refused(error.to_string()),
            })?;
        if continues {
            continue_last(&mut text, &adapted)?;
        }
        let (text, client) = text.into_parts();
        Ok(Rendered { text, client })
    }
}

fn render(
    program: &Program,
    tokens: &[(String, String)],
    variables: &[(&str, Value)],
    clock: Clock,
    limits: Limits,
) -> crate::jinja::Result<Text> {
    let tokens = tokens.iter().map(|(name, text)| (name.as_str(), Value::own(text.as_str())));
    // A client may set a variable that is a token's; its text then is the client's.
    let all: Vec<(&str, Value)> = tokens.chain(variables.iter().cloned()).collect();
    program.render(&all, &|format| format_now(clock, format), limits).map(|(text, _)| text)
}

fn detect(program: &Program, tokens: &[(String, String)], clock: Clock) -> Shape {
    let limits = Limits { fuel: PROBE_FUEL, ..Limits::for_conversation(0, 0) };
    let probe = |messages: &Value, tools: &Value| {
        let variables = [
            ("messages", messages.clone()),
            ("tools", tools.clone()),
            ("documents", Value::None),
            ("add_generation_prompt", Value::Bool(true)),
        ];
        let text = render(program, tokens, &variables, clock, limits).ok()?;
        Some(text.as_str().to_string())
    };
    let names_calls_by_id = program.speaks_of("<|tool_calls_section_begin|>");
    Shape::detect(&probe, program.speaks_of("developer"), names_calls_by_id)
}

/// Cuts the text behind the last message's words, as transformers does.
fn continue_last(text: &mut Text, messages: &Value) -> Result<(), Failure> {
    let last = messages.items().ok().and_then(|items| match items.last() {
        Some(Value::Dict(last)) => last.get_text("content").cloned(),
        _ => None,
    });
    let last = match last {
        Some(Value::List(parts)) => parts.iter().rev().find_map(|part| match part {
            Value::Dict(part) => part.get_text("text").cloned(),
            _ => None,
        }),
        content => content,
    };
    let Some(words) = last.as_ref().and_then(Value::as_str) else {
        return Err(refused("the message to be continued has no text"));
    };
    let Some(at) = text.as_str().rfind(words.trim()) else {
        return Err(refused(
            "the chat template does not write the message that is to be continued",
        ));
    };
    let spaced = words.trim_start();
    let kept = if text.as_str()[at..].starts_with(spaced) { spaced } else { words.trim() };
    text.truncate(at + kept.len());
    Ok(())
}

fn format_now(clock: Clock, format: &str) -> Option<String> {
    let format = CString::new(format).ok()?;
    let mut text = vec![0u8; 256];
    let size = clock(format.as_ptr(), text.as_mut_ptr().cast(), text.len());
    text.truncate(size);
    String::from_utf8(text).ok()
}
