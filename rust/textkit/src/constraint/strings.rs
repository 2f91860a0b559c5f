//! Strings of a schema that a format writes as plain text, up to a mark, and not as JSON: a Lark
//! grammar of such a text with its end, held to what the schema says of it: `const`, `pattern`,
//! `minLength`, `maxLength`, and the formats below.

use llguidance::regex_to_lark;
use regex_syntax::ast::{parse::Parser, AssertionKind, Ast};
use serde_json::Value;

/// How the text ends.
pub enum End<'a> {
    /// With this, where it first comes; that is part of the grammar.
    First(&'a str),
    /// With this, behind which a token stands that no text has; the token is not part of it.
    Last(&'a str),
}

/// Longer ones cost too many states to be counted; such a text ends where it likes.
const MOST_COUNTED: u64 = 10_000;

/// What else may be said of a string, which nothing here holds to.
const OTHERS: [&str; 6] = ["not", "allOf", "anyOf", "oneOf", "if", "$ref"];

/// `strict`: what cannot be held to is an error.
pub fn of(schema: &Value, end: &End, strict: bool) -> Result<String, String> {
    if let (Some(other), true) = (OTHERS.iter().find(|key| schema.get(key).is_some()), strict) {
        return Err(format!("these keywords are not supported: {other}"));
    }
    let mut bodies: Vec<String> = Vec::new();
    if let Some(text) = text(schema, "const")? {
        bodies.push(regex_syntax::escape(text));
    }
    if let Some(pattern) = text(schema, "pattern")? {
        bodies.push(searched(pattern)?);
    }
    if let Some(format) = text(schema, "format")?.and_then(of_format) {
        bodies.push(format.to_string());
    }
    let least = count(schema, "minLength")?.unwrap_or(0);
    match count(schema, "maxLength")? {
        Some(most) if most < least => return Err("no text fulfils it".to_string()),
        Some(most) if most <= MOST_COUNTED => bodies.push(format!("(?s:.{{{least},{most}}})")),
        _ if least > 0 => {
            bodies.push(format!("(?s:.{{{},}})", least.min(MOST_COUNTED)));
        }
        _ => {}
    }
    if bodies.is_empty() {
        bodies.push("(?s:.*)".to_string());
    }
    let all: Vec<String> =
        bodies.iter().map(|body| format!("/{}/", regex_to_lark(body, "dw"))).collect();
    let body = all.join(" & ");
    Ok(match end {
        End::First(end) => format!("start[suffix={}]: TEXT\nTEXT: {body}\n", Value::from(*end)),
        End::Last("") => format!("start: TEXT\nTEXT: {body}\n"),
        End::Last(end) => format!("start: TEXT\nTEXT: BODY {}\nBODY: {body}\n", Value::from(*end)),
    })
}

fn text<'a>(schema: &'a Value, key: &str) -> Result<Option<&'a str>, String> {
    match schema.get(key) {
        None => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or(format!("'{key}' is not a string")),
    }
}

fn count(schema: &Value, key: &str) -> Result<Option<u64>, String> {
    match schema.get(key) {
        None => Ok(None),
        Some(value) => value.as_u64().map(Some).ok_or(format!("'{key}' is not a count")),
    }
}

/// RFC 3339's dates and times and RFC 9562's UUIDs. Others are not held to.
fn of_format(name: &str) -> Option<&'static str> {
    Some(match name {
        "date" => r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])",
        "time" => r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)",
        "date-time" => concat!(
            r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T",
            r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)"
        ),
        "uuid" => r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        _ => return None,
    })
}

/// A pattern is found anywhere in the text (JSON Schema, "pattern"): as one of the whole text.
fn searched(pattern: &str) -> Result<String, String> {
    let fault = |what: &str| format!("its pattern '{pattern}' {what}");
    let ast = Parser::new().parse(pattern).map_err(|error| fault(&error.kind().to_string()))?;
    let alternatives: &[Ast] = match &ast {
        Ast::Alternation(alternation) => &alternation.asts,
        other => std::slice::from_ref(other),
    };
    let mut all = Vec::new();
    for alternative in alternatives {
        let mut parts: &[Ast] = match alternative {
            Ast::Concat(concat) => &concat.asts,
            Ast::Empty(_) => &[],
            other => std::slice::from_ref(other),
        };
        let at_begin = parts.first().is_some_and(|part| is(part, AssertionKind::StartLine));
        if at_begin {
            parts = &parts[1..];
        }
        let at_end = parts.last().is_some_and(|part| is(part, AssertionKind::EndLine));
        if at_end {
            parts = &parts[..parts.len() - 1];
        }
        let inner = match (parts.first(), parts.last()) {
            (Some(first), Some(last)) => {
                &pattern[first.span().start.offset..last.span().end.offset]
            }
            _ => "",
        };
        if parts.iter().any(has_assertion) {
            return Err(fault("has anchors within"));
        }
        let any = |anchored: bool| if anchored { "" } else { "(?s:.*)" };
        all.push(format!("{}({inner}){}", any(at_begin), any(at_end)));
    }
    Ok(all.join("|"))
}

fn is(part: &Ast, kind: AssertionKind) -> bool {
    matches!(part, Ast::Assertion(assertion) if assertion.kind == kind)
}

fn has_assertion(part: &Ast) -> bool {
    match part {
        Ast::Assertion(_) => true,
        Ast::Group(group) => has_assertion(&group.ast),
        Ast::Repetition(repetition) => has_assertion(&repetition.ast),
        Ast::Concat(concat) => concat.asts.iter().any(has_assertion),
        Ast::Alternation(alternation) => alternation.asts.iter().any(has_assertion),
        _ => false,
    }
}
