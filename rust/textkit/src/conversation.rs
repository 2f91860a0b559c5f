//! Brings a conversation to the form that a template reads. Templates were written against what
//! `transformers` hands them: some read content as text, some as a list of parts, some both; some
//! print a tool call's arguments, some walk over them. So each template is tried once, when it is
//! loaded, with small conversations, and what it loses tells what it wants.

use crate::call_ids::{wants_nine, CallIds};
use crate::jinja::{parse_json, Dict, Origin, Result, Text, Value};

/// Roles that the wire knows are words of the template's, which may join them to a control token
/// ("<|" + role + "|>"). Any other role is the client's text.
const KNOWN_ROLES: [&str; 6] = ["system", "developer", "user", "assistant", "tool", "function"];

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Content {
    pub text: bool,
    pub parts: bool,
}

/// What a template reads.
#[derive(Clone, PartialEq, Debug)]
pub struct Shape {
    pub system: Content,
    pub user: Content,
    pub assistant: Content,
    pub tool: Content,
    /// It has its own turn for `developer`; else such a message is one of `system`.
    pub developer: bool,
    /// A message of tool calls alone may have no content at all.
    pub null_content: bool,
    /// A tool call's arguments may be a mapping.
    pub argument_mapping: bool,
    /// ... may be text that is not JSON.
    pub argument_text: bool,
    /// It tells the model of tools.
    pub tools: bool,
    /// It has a turn for `system`.
    pub has_system: bool,
    /// Under which name it reads the reasoning of earlier turns.
    pub reasoning: &'static str,
    pub call_ids: CallIds,
}

/// In the order of their age; the wire has the first.
const REASONING: [&str; 3] = ["reasoning_content", "reasoning", "thinking"];

/// Renders messages and tools, None where the template fails.
pub type Probe<'a> = &'a dyn Fn(&Value, &Value) -> Option<String>;

const CALL: &str = r#"{"role":"user","content":"q"},{"role":"assistant"CONTENT,"tool_calls":
    [{"id":"call00001","type":"function","function":{"name":"f","arguments":ARGUMENTS}}]}"#;
const ANSWER: &str = r#"{"role":"tool","tool_call_id":"call00001","name":"f","content":"r"}"#;
const TOOLS: &str = r#"[{"type":"function","function":{"name":"f","description":"d","parameters":
    {"type":"object","properties":{"k":{"type":"string","description":"d"}},"required":["k"]}}}]"#;

fn render(probe: Probe, messages: &str) -> Option<String> {
    let messages = adapt_roles(&parse_json(messages).ok()?).ok()?;
    // Some templates speak of tools only where there are some, some trip over them.
    probe(&messages, &Value::None).or_else(|| probe(&messages, &parse_json(TOOLS).ok()?))
}

fn content_of(probe: Probe, messages: &str) -> Content {
    let with = |content: &str| render(probe, &messages.replace("CONTENT", content));
    let text = with("\"needle one\"").is_some_and(|out| out.contains("needle one"));
    let parts = r#"[{"type":"text","text":"needle one"},{"type":"text","text":"needle two"}]"#;
    let parts = with(parts).is_some_and(|out| {
        let whole = out.contains("needle one") && out.contains("needle two");
        // The list itself, printed.
        whole && !out.contains("'text': 'needle one") && !out.contains("\"text\": \"needle one")
    });
    Content { text: text || !parts, parts }
}

impl Shape {
    /// `knows_developer`: the template speaks of this role. `names_calls_by_id`: it writes a call by
    /// its id alone.
    pub fn detect(probe: Probe, knows_developer: bool, names_calls_by_id: bool) -> Shape {
        let user = r#"{"role":"user","content":"q"}"#;
        let call = |content: &str, arguments: &str| {
            let call = CALL.replace("CONTENT", content).replace("ARGUMENTS", arguments);
            render(probe, &format!("[{call},{ANSWER}]"))
                .or_else(|| render(probe, &format!("[{call}]")))
        };
        let with_arguments = |arguments: &str, check: &dyn Fn(&str) -> bool| {
            call(r#","content":"""#, arguments).is_some_and(|out| check(&out))
        };
        let tool = CALL.replace("CONTENT", r#","content":"""#).replace("ARGUMENTS", "{}");
        let developer =
            r#"[{"role":"developer","content":"needle"},{"role":"user","content":"q"}]"#;
        let argument_text =
            with_arguments(r#""needle words""#, &|out| out.contains("needle words"));
        let argument_mapping = with_arguments(r#"{"needle_key":"needle words"}"#, &|out| {
            let whole = out.contains("needle_key") && out.contains("needle words");
            whole && !out.contains("{'needle_key'")
        });
        let declares =
            [format!("[{user}]"), format!(r#"[{{"role":"system","content":"s"}},{user}]"#)];
        let tools = declares.iter().any(|messages| {
            let tools = TOOLS.replace(r#""name":"f""#, r#""name":"needle_tool""#);
            let parsed = (parse_json(messages)
                .and_then(|m| adapt_roles(&m).map_err(|e| e.message)))
            .and_then(|messages| Ok((messages, parse_json(&tools)?)));
            let out = parsed.ok().and_then(|(messages, tools)| probe(&messages, &tools));
            out.is_some_and(|out| out.contains("needle_tool"))
        });
        let system = format!(r#"[{{"role":"system","content":"needle"}},{user}]"#);
        let reasons = |name: &str| {
            let said = format!(r#","{name}":"needle","content":"a""#);
            let call = CALL.replace("CONTENT", &said).replace("ARGUMENTS", "{}");
            let last = format!(r#"[{user},{{"role":"assistant"{said}}}]"#);
            [format!("[{call},{ANSWER}]"), format!("[{call}]"), last]
                .iter()
                .any(|messages| render(probe, messages).is_some_and(|out| out.contains("needle")))
        };
        let call_of_id = |id: &str| {
            let call = CALL.replace("CONTENT", r#","content":"""#).replace("ARGUMENTS", "{}");
            render(probe, &format!("[{call},{ANSWER}]").replace("call00001", id)).is_some()
        };
        let call_ids = match names_calls_by_id {
            true => CallIds::ByName,
            false if wants_nine(call_of_id) => CallIds::Nine,
            false => CallIds::AsSent,
        };
        Shape {
            call_ids,
            tools,
            has_system: render(probe, &system).is_some_and(|out| out.contains("needle")),
            reasoning: REASONING.into_iter().find(|name| reasons(name)).unwrap_or(REASONING[0]),
            system: content_of(
                probe,
                &format!(r#"[{{"role":"system","content":CONTENT}},{user}]"#),
            ),
            user: content_of(probe, r#"[{"role":"user","content":CONTENT}]"#),
            assistant: content_of(
                probe,
                &format!(r#"[{user},{{"role":"assistant","content":CONTENT}},{user}]"#),
            ),
            tool: content_of(probe, &format!("[{tool},{}]", ANSWER.replace("\"r\"", "CONTENT"))),
            developer: knows_developer
                && render(probe, developer).is_some_and(|out| out.contains("needle")),
            null_content: call(r#","content":null"#, "{}").is_some_and(|out| !out.contains("None")),
            argument_mapping: argument_mapping || !argument_text,
            argument_text,
        }
    }

    fn content(&self, role: &str) -> Content {
        match role {
            "system" | "developer" => self.system,
            "assistant" => self.assistant,
            "tool" | "function" => self.tool,
            _ => self.user,
        }
    }

    /// Messages as the template reads them.
    pub fn adapt(&self, messages: &Value) -> Result<Value> {
        let messages = self.call_ids.adapt(&adapt_roles(messages)?)?;
        map_items(&messages, |message| {
            let role = member(message, "role").and_then(|r| Some(r.as_str()?.to_string()));
            let role = role.unwrap_or_default();
            let message = self.adapt_reasoning(message)?;
            map_entries(&message, |key, value| match key {
                "role" if role == "developer" && !self.developer => Ok(own("system")),
                "content" => self.adapt_content(&role, value),
                "tool_calls" => map_items(value, |call| self.adapt_call(call)),
                _ => Ok(value.clone()),
            })
        })
    }

    fn adapt_reasoning(&self, message: &Value) -> Result<Value> {
        let Value::Dict(dict) = message else { return Ok(message.clone()) };
        if self.reasoning == REASONING[0] || dict.get_text(REASONING[0]).is_none() {
            return Ok(message.clone());
        }
        let mut changed = Dict::default();
        for (key, value) in dict.entries() {
            let renamed = key.as_str() == Some(REASONING[0]);
            changed
                .insert(if renamed { own(self.reasoning) } else { key.clone() }, value.clone())?;
        }
        changed.finish()
    }

    fn adapt_content(&self, role: &str, content: &Value) -> Result<Value> {
        let wanted = self.content(role);
        match content {
            Value::Str(_) if !wanted.text => {
                let part = [(own("type"), own("text")), (own("text"), content.clone())];
                Value::list(vec![Dict::from_entries(part)?])
            }
            Value::List(_) if !wanted.parts => Ok(joined(content)?.unwrap_or(content.clone())),
            Value::None if !self.null_content => Ok(own("")),
            _ => Ok(content.clone()),
        }
    }

    fn adapt_call(&self, call: &Value) -> Result<Value> {
        map_entries(call, |key, value| match key {
            "function" => map_entries(value, |key, value| match key {
                "arguments" => self.adapt_arguments(value),
                _ => Ok(value.clone()),
            }),
            _ => Ok(value.clone()),
        })
    }

    /// The wire has a call's arguments as JSON in a string. A model may have written it, so it may
    /// be empty or broken; the conversation goes on all the same, and loses nothing.
    fn adapt_arguments(&self, arguments: &Value) -> Result<Value> {
        let Value::Str(text) = arguments else { return Ok(arguments.clone()) };
        let written = text.as_str().trim();
        let parsed = if written.is_empty() || written == "null" {
            Some(Dict::from_entries([])?)
        } else {
            parse_json(written).ok().filter(|parsed| matches!(parsed, Value::Dict(_)))
        };
        match parsed {
            Some(mapping) if self.argument_mapping => Ok(mapping),
            Some(_) if written.is_empty() => Ok(own("{}")),
            None if !self.argument_text => {
                Dict::from_entries([(own("arguments"), arguments.clone())])
            }
            _ => Ok(arguments.clone()),
        }
    }
}

pub fn own(text: &str) -> Value {
    Value::own(text)
}

pub fn member<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Dict(dict) => dict.get_text(name),
        _ => None,
    }
}

pub fn map_items(list: &Value, change: impl FnMut(&Value) -> Result<Value>) -> Result<Value> {
    match list {
        Value::List(items) => Value::list(items.iter().map(change).collect::<Result<_>>()?),
        _ => Ok(list.clone()),
    }
}

pub fn map_entries(
    value: &Value,
    mut change: impl FnMut(&str, &Value) -> Result<Value>,
) -> Result<Value> {
    let Value::Dict(dict) = value else { return Ok(value.clone()) };
    let mut changed = Dict::default();
    for (key, value) in dict.entries() {
        let value = change(key.as_str().unwrap_or_default(), value)?;
        changed.insert(key.clone(), value)?;
    }
    changed.finish()
}

fn adapt_roles(messages: &Value) -> Result<Value> {
    map_items(messages, |message| {
        map_entries(message, |key, value| match value.as_str() {
            Some(role) if key == "role" && KNOWN_ROLES.contains(&role) => Ok(own(role)),
            _ => Ok(value.clone()),
        })
    })
}

/// The texts of parts, each on lines of its own, as other servers hand them to such templates; None
/// where a part is not text.
pub fn joined(parts: &Value) -> Result<Option<Value>> {
    let mut text = Text::new();
    for (i, part) in parts.items()?.iter().enumerate() {
        let part = match (part, member(part, "text")) {
            (Value::Str(part), _) | (_, Some(Value::Str(part))) => part,
            _ => return Ok(None),
        };
        text.push(if i > 0 { "\n" } else { "" }, Origin::Template);
        text.push_text(part);
    }
    Ok(Some(Value::text(text)))
}
