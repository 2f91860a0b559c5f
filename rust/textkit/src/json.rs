//! What a tokenizer.json must satisfy before the `tokenizers` crate sees it. The crate trusts its
//! input: nested legacy forms are tried in exponentially many ways, tokens of megabytes overflow the
//! stack, replacement texts multiply memory, ids are used as sizes.

use serde_json::Value;
use tokenizers::Result;

use crate::pipeline::{MAX_TOKENS, MAX_TOKEN_BYTES};

/// The deepest real files reach 9.
const MAX_DEPTH: usize = 14;
/// The longest real pattern (DeepSeek's list of letters) has about 1 KB.
const MAX_PATTERN_BYTES: usize = 16 << 10;
/// What is put into the text again and again: a space marker, a prefix.
const MAX_INSERTED_BYTES: usize = 32;
const MAX_CHARSMAP_BYTES: usize = 4 << 20;
const MAX_STEPS: usize = 256;

pub fn check(root: &Value) -> Result<()> {
    let fields = root.as_object().ok_or("it is not a JSON object")?;
    check_depth(root, MAX_DEPTH)?;
    for field in ["normalizer", "pre_tokenizer", "post_processor", "decoder"] {
        if let Some(value) = fields.get(field) {
            check_steps(value, field)?;
        }
    }
    check_vocabulary(&root["model"])?;
    check_added_tokens(&root["added_tokens"])
}

fn check_depth(value: &Value, left: usize) -> Result<()> {
    if left == 0 {
        return Err(format!("it is nested deeper than {MAX_DEPTH} levels").into());
    }
    match value {
        Value::Array(items) => items.iter().try_for_each(|v| check_depth(v, left - 1)),
        Value::Object(map) => map.values().try_for_each(|v| check_depth(v, left - 1)),
        _ => Ok(()),
    }
}

fn check_steps(value: &Value, path: &str) -> Result<()> {
    match value {
        Value::String(text) => {
            let limit = match path.rsplit('.').next() {
                Some("content" | "prepend" | "replacement") => MAX_INSERTED_BYTES,
                Some("precompiled_charsmap") => MAX_CHARSMAP_BYTES,
                _ => MAX_PATTERN_BYTES,
            };
            if text.len() > limit {
                return Err(format!("{path} has {} bytes, over {limit}", text.len()).into());
            }
            Ok(())
        }
        Value::Array(items) if items.len() > MAX_STEPS && !path.contains("charsmap") => {
            Err(format!("{path} has {} entries, over {MAX_STEPS}", items.len()).into())
        }
        Value::Array(items) => items.iter().try_for_each(|v| check_steps(v, path)),
        Value::Object(map) => {
            map.iter().try_for_each(|(key, v)| check_steps(v, &format!("{path}.{key}")))
        }
        _ => Ok(()),
    }
}

fn check_token(token: &str, what: &str) -> Result<()> {
    if token.len() > MAX_TOKEN_BYTES {
        let size = token.len();
        return Err(format!("{what} holds a token of {size} bytes, over {MAX_TOKEN_BYTES}").into());
    }
    Ok(())
}

fn check_id(id: &Value, what: &str) -> Result<u32> {
    match id.as_u64() {
        Some(id) if id < MAX_TOKENS as u64 => Ok(id as u32),
        _ => Err(format!("{what} has the id {id}, not a number under {MAX_TOKENS}").into()),
    }
}

pub fn check_vocabulary(model: &Value) -> Result<()> {
    match &model["vocab"] {
        Value::Object(vocabulary) => vocabulary.iter().try_for_each(|(token, id)| {
            check_token(token, "model.vocab")?;
            check_id(id, &format!("model.vocab's token {token:?}")).map(|_| ())
        }),
        Value::Array(entries) if entries.len() <= MAX_TOKENS => entries
            .iter()
            .filter_map(|entry| entry[0].as_str())
            .try_for_each(|token| check_token(token, "model.vocab")),
        _ => Err("model.vocab is neither an object nor an array of up to 4194304 entries".into()),
    }
}

fn check_added_tokens(added: &Value) -> Result<()> {
    for token in added.as_array().into_iter().flatten() {
        let content = token["content"].as_str().unwrap_or_default();
        check_token(content, "added_tokens")?;
        check_id(&token["id"], &format!("added_tokens' {content:?}"))?;
    }
    Ok(())
}
