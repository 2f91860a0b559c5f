//! The ids of tool calls, where a template is particular about them. Clients send those of their own
//! APIs, or of other servers.

use std::collections::HashMap;

use crate::conversation::{map_entries, map_items, member};
use crate::jinja::{Origin, Result, Text, Value};

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum CallIds {
    AsSent,
    /// Nine letters and digits: Mistral's templates refuse others.
    Nine,
    /// "functions.NAME:INDEX", counted over the conversation: Kimi's templates write a call by its id
    /// alone, in which the model reads the function's name.
    ByName,
}

impl CallIds {
    pub fn adapt(self, messages: &Value) -> Result<Value> {
        match self {
            CallIds::AsSent => Ok(messages.clone()),
            CallIds::Nine => rename(messages, &mut |id, _| nine(id)),
            CallIds::ByName => {
                let mut made: HashMap<String, Text> = HashMap::new();
                let mut count = 0;
                rename(messages, &mut |id, name| {
                    let Some(name) = name else { return made.get(id).cloned() };
                    let mut new = Text::of("functions.", Origin::Template);
                    new.push_text(name);
                    new.push(&format!(":{count}"), Origin::Template);
                    count += 1;
                    made.insert(id.to_string(), new.clone());
                    Some(new)
                })
            }
        }
    }
}

/// `new` gives an id in place of one that was sent, of a call of that name or of its result; None: it
/// stays.
fn rename(
    messages: &Value,
    new: &mut dyn FnMut(&str, Option<&Text>) -> Option<Text>,
) -> Result<Value> {
    map_items(messages, |message| {
        map_entries(message, |key, value| match (key, value) {
            ("tool_call_id", Value::Str(id)) => Ok(replaced(value, new(id.as_str(), None))),
            ("tool_calls", Value::List(_)) => map_items(value, |call| {
                let name = member(call, "function").and_then(|f| member(f, "name"));
                let id = member(call, "id").and_then(Value::as_str);
                let (Some(Value::Str(name)), Some(id)) = (name, id) else {
                    return Ok(call.clone());
                };
                let id = new(id, Some(name));
                map_entries(call, |key, value| {
                    Ok(if key == "id" { replaced(value, id.clone()) } else { value.clone() })
                })
            }),
            _ => Ok(value.clone()),
        })
    })
}

fn replaced(value: &Value, new: Option<Text>) -> Value {
    new.map_or_else(|| value.clone(), Value::text)
}

/// The same for the same id, so that a result finds its call.
fn nine(id: &str) -> Option<Text> {
    const LETTERS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    if id.len() == 9 && id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    // FNV-1a.
    let mut hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mut text = String::new();
    for _ in 0..9 {
        text.push(char::from(LETTERS[(hash % 62) as usize]));
        hash /= 62;
    }
    Some(Text::of(text, Origin::Template))
}

/// Whether a template takes nine letters and digits, and no other id. `renders` a call with this id.
pub fn wants_nine(renders: impl Fn(&str) -> bool) -> bool {
    renders("call00001") && !renders("call_of-any-length_1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jinja::parse_json;

    fn ids(kind: CallIds, messages: &str) -> Vec<String> {
        let adapted = kind.adapt(&parse_json(messages).unwrap()).unwrap();
        let mut ids = Vec::new();
        let mut note = |id: Option<&Value>| {
            ids.extend(id.and_then(Value::as_str).map(str::to_string));
        };
        for message in adapted.items().unwrap().iter() {
            if let Some(Value::List(calls)) = member(message, "tool_calls") {
                calls.iter().for_each(|call| note(member(call, "id")));
            }
            note(member(message, "tool_call_id"));
        }
        ids
    }

    const CALLS: &str = r#"[{"role":"assistant","tool_calls":[
        {"id":"toolu_1","type":"function","function":{"name":"f","arguments":"{}"}},
        {"id":"abcDEF123","type":"function","function":{"name":"g","arguments":"{}"}}]},
        {"role":"tool","tool_call_id":"abcDEF123","content":"r"},
        {"role":"tool","tool_call_id":"toolu_1","content":"r"},
        {"role":"tool","tool_call_id":"unheard of","content":"r"}]"#;

    #[test]
    fn any_id_stays_where_the_template_does_not_mind() {
        let sent = ["toolu_1", "abcDEF123", "abcDEF123", "toolu_1", "unheard of"];
        assert_eq!(ids(CallIds::AsSent, CALLS), sent);
    }

    #[test]
    fn nine_letters_are_the_same_for_a_call_and_its_result() {
        let ids = ids(CallIds::Nine, CALLS);
        assert_eq!(ids[1..3], ["abcDEF123", "abcDEF123"], "what fits stays");
        assert_eq!(ids[0], ids[3]);
        assert!(ids
            .iter()
            .all(|id| id.len() == 9 && id.bytes().all(|b| b.is_ascii_alphanumeric())));
        assert_ne!(ids[0], ids[4]);
    }

    #[test]
    fn names_are_counted_over_the_conversation() {
        let named =
            ["functions.f:0", "functions.g:1", "functions.g:1", "functions.f:0", "unheard of"];
        assert_eq!(ids(CallIds::ByName, CALLS), named);
    }

    #[test]
    fn the_name_in_an_id_stays_the_clients() {
        let adapted = CallIds::ByName.adapt(&parse_json(CALLS).unwrap()).unwrap();
        let messages = adapted.items().unwrap();
        let Some(Value::List(calls)) = member(&messages[0], "tool_calls") else { panic!() };
        let Some(Value::Str(id)) = member(&calls[0], "id") else { panic!() };
        let runs: Vec<(&str, Origin)> = id.runs().collect();
        let expected =
            [("functions.", Origin::Template), ("f", Origin::Client), (":0", Origin::Template)];
        assert_eq!(runs, expected);
    }
}
