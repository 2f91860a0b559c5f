//! Grammars of tool calls: a Lark grammar of a format of calls, which names parts that are JSON of
//! a tool's schema or of a part of one, or strings of it that are not written as JSON (strings.rs).
//! Their source, as JSON:
//!
//!   {"lark": "start: ... @a0 ...",
//!    "tools": {"f": {"parameters": schema, "strict": false}},
//!    "parts": {"a0": {"tool": "f", "at": "/properties/x"},     an empty `at`: all of the schema
//!              "a1": {"tool": "f", "at": "/properties/y",      a string, and its end: where that
//!                     "end": "</y>", "token": false}},         first comes, or before a token
//!    "answer": {"kind": 0, "text": ""}}                        or none: what "@answer" is
//!
//! A tool that is not strict is held to what can be enforced of its schema, which is any object at
//! the least: clients declare what some other server took, and do not read errors.

use llguidance::api::TopLevelGrammar;
use serde_json::{json, Map, Value};

use super::strings::{self, End};
use super::{any_object, schema_with, Kind};

pub struct Calls {
    lark: String,
    tools: Map<String, Value>,
    parts: Map<String, Value>,
    answer: Option<TopLevelGrammar>,
}

impl Calls {
    /// `grammar_of` makes what an answer in place of calls is held to.
    pub fn read(
        source: &str,
        grammar_of: impl Fn(Kind, &str) -> Result<TopLevelGrammar, String>,
    ) -> Result<Calls, String> {
        let mut source: Value = serde_json::from_str(source).map_err(|error| error.to_string())?;
        let mut take = |key: &str| source.get_mut(key).map(Value::take).unwrap_or_default();
        let (Value::String(lark), Value::Object(tools), Value::Object(parts)) =
            (take("lark"), take("tools"), take("parts"))
        else {
            return Err("a grammar of calls has a text, tools and parts".to_string());
        };
        let answer = match take("answer") {
            Value::Null => None,
            answer => {
                let kind = answer["kind"].as_u64().and_then(Kind::of).ok_or("no such kind")?;
                Some(grammar_of(kind, answer["text"].as_str().unwrap_or_default())?)
            }
        };
        Ok(Calls { lark, tools, parts, answer })
    }

    /// `fits` says whether a grammar can be followed. Errors name the strict tool whose schema
    /// cannot.
    pub fn grammar(
        self,
        fits: impl Fn(&TopLevelGrammar) -> Result<(), String>,
    ) -> Result<TopLevelGrammar, String> {
        let mut grammars = TopLevelGrammar::from_lark(self.lark);
        for (name, place) in &self.parts {
            let tool = place["tool"].as_str().unwrap_or_default();
            let declared = self.tools.get(tool).ok_or("a part of no tool")?;
            let strict = declared["strict"] == json!(true);
            let at = place["at"].as_str().unwrap_or_default();
            let part = match place["end"].as_str() {
                Some(end) if place["token"] == json!(true) => Part::String(End::Last(end)),
                Some(end) => Part::String(End::First(end)),
                None => Part::Json { all: at.is_empty() },
            };
            let grammar = part_of(&declared["parameters"], at)
                .and_then(|schema| part.grammar(schema, strict))
                .and_then(|grammar| fits(&grammar).map(|()| grammar));
            let mut grammar = match grammar {
                Ok(grammar) => grammar,
                Err(error) if strict => return Err(format!("of '{tool}', {error}")),
                Err(_) => part.any()?,
            };
            grammar.grammars[0].name = Some(name.to_string());
            grammars.grammars.append(&mut grammar.grammars);
        }
        if let Some(mut answer) = self.answer {
            answer.grammars[0].name = Some("answer".to_string());
            grammars.grammars.extend(answer.grammars);
        }
        Ok(grammars)
    }
}

/// What a part is written as.
enum Part<'a> {
    Json { all: bool },
    String(End<'a>),
}

impl Part<'_> {
    fn grammar(&self, schema: Value, strict: bool) -> Result<TopLevelGrammar, String> {
        Ok(match self {
            Part::Json { .. } => TopLevelGrammar::from_json_schema(schema_with(schema, !strict)?),
            Part::String(end) => TopLevelGrammar::from_lark(strings::of(&schema, end, strict)?),
        })
    }

    /// Of a schema that cannot be enforced.
    fn any(&self) -> Result<TopLevelGrammar, String> {
        match self {
            Part::Json { all: true } => Ok(TopLevelGrammar::from_json_schema(any_object())),
            _ => self.grammar(json!({}), false),
        }
    }
}

/// With what it may refer to. Arguments are an object; where a schema lists members and does not
/// say whether there are others, there are none: that is what clients mean, and else a small model
/// goes on and on.
fn part_of(schema: &Value, at: &str) -> Result<Value, String> {
    let mut part = schema.pointer(at).ok_or("a part of no schema")?.clone();
    if let Value::Object(members) = &mut part {
        if at.is_empty() {
            members.insert("type".to_string(), json!("object"));
        } else {
            for definitions in ["$defs", "definitions"] {
                if let Some(those) = schema.get(definitions) {
                    members.entry(definitions).or_insert_with(|| those.clone());
                }
            }
        }
    }
    close(&mut part);
    Ok(part)
}

fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            let combined = ["patternProperties", "allOf", "anyOf", "oneOf", "$ref", "if"];
            let listed = members.get("properties").is_some_and(Value::is_object);
            if listed && !combined.iter().any(|key| members.contains_key(*key)) {
                members.entry("additionalProperties").or_insert(json!(false));
            }
            for (key, value) in members.iter_mut() {
                match key.as_str() {
                    // Names in these are the client's, and no keywords.
                    "properties" | "$defs" | "definitions" => {
                        if let Value::Object(schemas) = value {
                            schemas.values_mut().for_each(close);
                        }
                    }
                    // Each part holds to what another lists.
                    "allOf" | "const" | "enum" | "default" | "examples" => {}
                    _ => close(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}
