//! Tools for a model whose template knows none: they are declared in the system message, calls and
//! results are written into the messages. The form is that of `<tool_call>` and JSON, which most
//! models have seen, and which the server reads as it reads theirs (README, "Tools").

use crate::conversation::{joined, map_entries, member, own};
use crate::jinja::{parse_json, Dict, Origin, Program, Result, Text, Value};

const DECLARATION: &str = r#"You can call these functions, each given by a JSON schema:
{% for tool in tools %}{{ tool.function | tojson }}
{% endfor %}
To call one, write nothing but this, once for each call:
<tool_call>
{"name": "the function's name", "arguments": {"an argument": "its value"}}
</tool_call>
The results come in the next message, each in <tool_response></tool_response>. Without a need for a function, answer in words."#;

const CALL: &str = r#"<tool_call>
{"name": {{ call.name | tojson }}, "arguments": {{ call.arguments | tojson }}}
</tool_call>"#;

/// Renders a program of ours with one variable.
pub type Run<'a> = &'a dyn Fn(&Program, (&str, Value)) -> Result<Text>;

pub struct ToolsInWords {
    declaration: Program,
    call: Program,
}

impl ToolsInWords {
    pub fn new() -> Result<ToolsInWords> {
        Ok(ToolsInWords { declaration: Program::new(DECLARATION)?, call: Program::new(CALL)? })
    }

    /// The messages with all that is said of tools in words. `has_system`: the template takes a
    /// system message; else the declaration stands before the first message of the user.
    pub fn put(
        &self,
        messages: &Value,
        tools: &Value,
        has_system: bool,
        run: Run,
    ) -> Result<Value> {
        let mut declaration = None;
        if tools.truth() {
            declaration = Some(run(&self.declaration, ("tools", tools.clone()))?);
        }
        let mut out: Vec<Value> = Vec::new();
        let mut results: Option<Text> = None;
        for message in messages.items()?.iter() {
            let role = member(message, "role").and_then(Value::as_str).unwrap_or_default();
            if role == "tool" {
                add_result(&mut results, message)?;
                continue;
            }
            flush(&mut results, &mut out)?;
            let takes =
                if has_system { matches!(role, "system" | "developer") } else { role == "user" };
            if takes && declaration.is_some() {
                let own = declaration.take().unwrap_or_default();
                out.push(with_declaration(message, own, has_system)?);
            } else if role == "assistant" {
                out.push(self.with_calls(message, run)?);
            } else {
                out.push(message.clone());
            }
        }
        flush(&mut results, &mut out)?;
        if let Some(text) = declaration {
            let role = if has_system { "system" } else { "user" };
            out.insert(0, turn(role, text)?);
        }
        Value::list(out)
    }

    fn with_calls(&self, message: &Value, run: Run) -> Result<Value> {
        let Some(Value::List(calls)) = member(message, "tool_calls") else {
            return Ok(message.clone());
        };
        let mut text = content_of(message)?;
        for call in calls.iter() {
            let Some(function) = member(call, "function") else { continue };
            let function = map_entries(function, |key, value| match (key, value) {
                ("arguments", Value::Str(json)) => {
                    Ok(parse_json(json.as_str()).unwrap_or(value.clone()))
                }
                _ => Ok(value.clone()),
            })?;
            if !text.is_empty() {
                text.push("\n", Origin::Template);
            }
            text.push_text(&run(&self.call, ("call", function))?);
        }
        replaced(message, text)
    }
}

/// Results that follow each other are one turn of the user's: templates want turns in turn.
fn add_result(results: &mut Option<Text>, message: &Value) -> Result<()> {
    let text = results.get_or_insert_with(Text::new);
    if !text.is_empty() {
        text.push("\n", Origin::Template);
    }
    text.push("<tool_response>\n", Origin::Template);
    text.push_text(&content_of(message)?);
    text.push("\n</tool_response>", Origin::Template);
    Ok(())
}

fn flush(results: &mut Option<Text>, out: &mut Vec<Value>) -> Result<()> {
    if let Some(text) = results.take() {
        out.push(turn("user", text)?);
    }
    Ok(())
}

fn turn(role: &str, text: Text) -> Result<Value> {
    Dict::from_entries([(own("role"), own(role)), (own("content"), Value::text(text))])
}

/// The declaration stands behind what the system message says, and before what the user says.
fn with_declaration(message: &Value, declaration: Text, behind: bool) -> Result<Value> {
    let content = content_of(message)?;
    let (first, second) = if behind { (content, declaration) } else { (declaration, content) };
    let mut text = first;
    if !text.is_empty() && !second.is_empty() {
        text.push("\n\n", Origin::Template);
    }
    text.push_text(&second);
    replaced(message, text)
}

/// The message with this content, and without calls.
fn replaced(message: &Value, text: Text) -> Result<Value> {
    let mut changed = Dict::default();
    if let Value::Dict(dict) = message {
        for (key, value) in dict.entries() {
            if !matches!(key.as_str(), Some("content" | "tool_calls")) {
                changed.insert(key.clone(), value.clone())?;
            }
        }
    }
    changed.insert(own("content"), Value::text(text))?;
    changed.finish()
}

fn content_of(message: &Value) -> Result<Text> {
    let whole = match member(message, "content") {
        Some(list @ Value::List(_)) => joined(list)?,
        Some(text) => Some(text.clone()),
        None => None,
    };
    Ok(match whole {
        Some(Value::Str(text)) => Text::clone(&text),
        _ => Text::new(),
    })
}
