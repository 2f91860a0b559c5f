//! Keeps what a user wrote from being read as control tokens. A template writes special tokens as
//! text, and so may a message; once rendered they look the same. So before rendering, each special
//! token's text inside a message is broken by a guard character that the messages do not contain;
//! the tokeniser finds no special token there, drops the guard, and reads plain text.

use aho_corasick::AhoCorasick;
use serde_json::Value;
use tokenizers::Result;

/// The JSON with guards and the character used; None when there is nothing to guard.
pub fn guard_specials(json: &str, specials: &[String]) -> Result<Option<(String, char)>> {
    let patterns: Vec<&str> =
        specials.iter().map(String::as_str).filter(|s| s.chars().count() > 1).collect();
    let finder = AhoCorasick::new(&patterns)?;
    let mut root: Value = serde_json::from_str(json)?;
    if !contains(&root, &finder) {
        return Ok(None);
    }
    // Noncharacters (Unicode 23.7) do not occur in text meant for interchange; a text that holds
    // them all gets one from the last private-use plane.
    let mut candidates = ('\u{FDD0}'..='\u{FDEF}').chain('\u{100000}'..='\u{10FFFD}');
    let guard = candidates.find(|c| !holds(&root, *c)).ok_or("no character is left as a guard")?;
    break_specials(&mut root, &finder, guard);
    Ok(Some((serde_json::to_string(&root)?, guard)))
}

fn contains(value: &Value, finder: &AhoCorasick) -> bool {
    match value {
        Value::String(text) => finder.is_match(text),
        Value::Array(items) => items.iter().any(|v| contains(v, finder)),
        Value::Object(map) => map.values().any(|v| contains(v, finder)),
        _ => false,
    }
}

fn holds(value: &Value, c: char) -> bool {
    match value {
        Value::String(text) => text.contains(c),
        Value::Array(items) => items.iter().any(|v| holds(v, c)),
        Value::Object(map) => map.iter().any(|(k, v)| k.contains(c) || holds(v, c)),
        _ => false,
    }
}

fn break_specials(value: &mut Value, finder: &AhoCorasick, guard: char) {
    match value {
        Value::String(text) => {
            // All matches, overlapping ones too: breaking one must not reveal another.
            let mut cuts: Vec<usize> = finder
                .find_overlapping_iter(text.as_str())
                .map(|m| m.start() + text[m.start()..].chars().next().map_or(0, char::len_utf8))
                .collect();
            cuts.sort_unstable();
            cuts.dedup();
            let mut guarded = String::with_capacity(text.len() + 4 * cuts.len());
            let mut from = 0;
            for cut in cuts {
                guarded.push_str(&text[from..cut]);
                guarded.push(guard);
                from = cut;
            }
            guarded.push_str(&text[from..]);
            *text = guarded;
        }
        Value::Array(items) => items.iter_mut().for_each(|v| break_specials(v, finder, guard)),
        Value::Object(map) => map
            .iter_mut()
            .filter(|(key, _)| key.as_str() != "role")
            .for_each(|(_, v)| break_specials(v, finder, guard)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaks_overlapping_specials_and_leaves_roles() {
        let specials = ["<|end|>".to_string(), "|end|>".to_string(), "x".to_string()];
        let json = r#"[{"role":"<|end|>","content":"a<|end|>x"}]"#;
        let (guarded, guard) = guard_specials(json, &specials).unwrap().unwrap();
        let expected = format!(r#"[{{"role":"<|end|>","content":"a<{guard}|{guard}end|>x"}}]"#);
        assert_eq!(guarded, expected);
    }

    #[test]
    fn leaves_plain_messages_alone() {
        let specials = ["<|end|>".to_string()];
        assert!(guard_specials(r#"[{"content":"<|end"}]"#, &specials).unwrap().is_none());
    }
}
