//! Tokenisers from a Hugging Face tokenizer.json.

use std::collections::HashMap;

use serde_json::{json, Value};
use tokenizers::{
    AddedToken, Encoding, Model, ModelWrapper, PostProcessor, Result, Token, Tokenizer,
};

use crate::bytes::Spelling;
use crate::json;
use crate::pipeline::{AnyModel, Joining, Kind, Parts, Pipeline, Splitter, TokenInfo, MAX_TOKENS};

/// `added`: a JSON array of tokens that the files beside tokenizer.json know, or nothing.
pub fn load(text: &str, added: &str, prefix: Option<u32>, suffix: Option<u32>) -> Result<Pipeline> {
    let mut root: Value = serde_json::from_str(text)?;
    if !added.is_empty() && root.is_object() {
        json::check_vocabulary(&root["model"])?;
        add_tokens(&mut root, serde_json::from_str(added)?)?;
    }
    json::check(&root)?;
    let decoder = Decoder::read(&root["decoder"])?;
    let expected: Vec<(String, u64)> = root["added_tokens"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|t| Some((t["content"].as_str()?.to_string(), t["id"].as_u64()?)))
        .collect();
    let tokenizer: Tokenizer = serde_json::from_value(root)?;
    for (content, id) in expected {
        // An empty token is never added.
        let given = tokenizer.token_to_id(&content).map(u64::from);
        if !content.is_empty() && given != Some(id) {
            let message =
                format!("added token {content:?} has the id {id}, but stands at {given:?}");
            return Err(message.into());
        }
    }
    let mut sides = added_by_post_processor(&tokenizer)?;
    if sides.0.is_empty() {
        sides.0.extend(prefix);
    }
    if sides.1.is_empty() {
        sides.1.extend(suffix);
    }
    let added_tokens = added_tokens(&tokenizer);
    let tokens = token_infos(&tokenizer, &decoder.spelling)?;
    let normalizer = tokenizer.get_normalizer().cloned();
    let pre_tokenizer = tokenizer.get_pre_tokenizer().cloned().map(|p| Box::new(p) as Splitter);
    let mut model = tokenizer.get_model().clone();
    if let ModelWrapper::BPE(bpe) = &mut model {
        bpe.dropout = None; // a training aid: it would make prompts random
    }
    Pipeline::new(Parts {
        model: AnyModel::Library(model),
        normalizer,
        pre_tokenizer,
        added_tokens,
        tokens,
        prefix: sides.0,
        suffix: sides.1,
        joining: decoder.joining,
    })
}

/// Puts tokens into the file's own list, as transformers does: a token that is there already takes
/// the flags that are stated for it, another comes after all others, in the order of the list.
fn add_tokens(root: &mut Value, added: Vec<Value>) -> Result<()> {
    if !root["added_tokens"].is_array() && !root["added_tokens"].is_null() {
        return Ok(()); // refused as it is
    }
    let listed: HashMap<&str, u64> = match &root["model"]["vocab"] {
        Value::Array(entries) => entries
            .iter()
            .enumerate()
            .filter_map(|(id, entry)| Some((entry[0].as_str()?, id as u64)))
            .collect(),
        _ => HashMap::new(),
    };
    let known = |content: &str| match &root["model"]["vocab"] {
        Value::Object(vocabulary) => vocabulary.get(content).and_then(Value::as_u64),
        _ => listed.get(content).copied(),
    };
    let vocabulary_size = match &root["model"]["vocab"] {
        Value::Object(vocabulary) => vocabulary.len(),
        Value::Array(entries) => entries.len(),
        _ => 0,
    } as u64;
    let mut tokens = root["added_tokens"].as_array().cloned().unwrap_or_default();
    let mut places: HashMap<String, usize> = tokens
        .iter()
        .enumerate()
        .filter_map(|(place, token)| Some((token["content"].as_str()?.to_string(), place)))
        .collect();
    let mut next =
        tokens.iter().filter_map(|t| t["id"].as_u64()).map(|id| id.saturating_add(1)).max();
    for token in added {
        let content = token["content"].as_str().unwrap_or_default().to_string();
        if content.is_empty() {
            continue;
        }
        let place = *places.entry(content.clone()).or_insert_with(|| {
            let free = next.unwrap_or(0).max(vocabulary_size);
            let id = known(&content).or_else(|| token["id"].as_u64()).unwrap_or(free);
            next = next.max(Some(id.saturating_add(1)));
            tokens.push(json!({"id": id, "content": content, "single_word": false,
                "lstrip": false, "rstrip": false, "normalized": token["special"] != true,
                "special": false}));
            tokens.len() - 1
        });
        for flag in ["single_word", "lstrip", "rstrip", "normalized", "special"] {
            if token[flag].is_boolean() {
                tokens[place][flag] = token[flag].clone();
            }
        }
        if token["id"].is_u64() && token["id"] != tokens[place]["id"] {
            let (stated, found) = (&token["id"], &tokens[place]["id"]);
            return Err(format!(
                "added token {content:?} has the id {stated} in a file beside it, but stands at \
                 {found}"
            )
            .into());
        }
    }
    tokens.sort_by_key(|token| token["id"].as_u64());
    root["added_tokens"] = Value::Array(tokens);
    Ok(())
}

/// How the file says that tokens are joined to text.
struct Decoder {
    spelling: Spelling,
    joining: Joining,
}

impl Decoder {
    fn read(decoder: &Value) -> Result<Decoder> {
        let flag = |name: &str| decoder[name].as_bool().unwrap_or(true);
        let text = |name: &str, usual: &str| decoder[name].as_str().unwrap_or(usual).to_string();
        match decoder["type"].as_str() {
            None if decoder.is_null() => Ok(Decoder {
                spelling: Spelling::Separate,
                joining: Joining { strips_leading_space: true, ..Joining::default() },
            }),
            Some("WordPiece") => Ok(Decoder {
                spelling: Spelling::Continued {
                    prefix: text("prefix", "##"),
                    cleanup: flag("cleanup"),
                },
                joining: Joining { strips_leading_space: true, ..Joining::default() },
            }),
            Some("BPEDecoder") => match text("suffix", "</w>") {
                suffix if suffix.is_empty() => Err("its decoder has an empty suffix".into()),
                suffix => Ok(Decoder {
                    spelling: Spelling::Ended { suffix },
                    joining: Joining { strips_trailing_space: true, ..Joining::default() },
                }),
            },
            Some("CTC") => match (text("pad_token", "<pad>"), text("word_delimiter_token", "|")) {
                (pad, delimiter) if pad.is_empty() || delimiter.is_empty() => {
                    Err("its decoder has an empty pad_token or word_delimiter_token".into())
                }
                (pad, delimiter) => Ok(Decoder {
                    spelling: Spelling::Timed { pad, delimiter, cleanup: flag("cleanup") },
                    joining: Joining { merges_repeats: true, ..Joining::default() },
                }),
            },
            _ => Decoder::read_steps(decoder),
        }
    }

    /// ByteLevel, Metaspace, or the steps that SentencePiece's decoder is written as.
    fn read_steps(decoder: &Value) -> Result<Decoder> {
        let single = std::slice::from_ref(decoder);
        let steps = match decoder["decoders"].as_array() {
            Some(steps) if decoder["type"] == "Sequence" => steps.as_slice(),
            _ => single,
        };
        let mut space = None;
        let mut byte_level = false;
        let mut byte_fallback = false;
        let mut joining = Joining::default();
        for step in steps {
            match step["type"].as_str() {
                Some("ByteLevel") => byte_level = true,
                Some("ByteFallback") => byte_fallback = true,
                Some("Fuse") => {}
                Some("Metaspace") => {
                    space = Some(step["replacement"].as_str().unwrap_or("\u{2581}").to_string());
                    joining.strips_leading_space =
                        step["prepend_scheme"] != "never" && step["add_prefix_space"] != false;
                }
                Some("Replace") if step["content"] == " " => {
                    space = step["pattern"]["String"].as_str().map(str::to_string);
                }
                Some("Strip") if step["content"] == " " && step["stop"] == 0 => {
                    joining.strips_leading_space = step["start"] == 1;
                }
                other => {
                    let name = other.unwrap_or("none");
                    return Err(format!(
                        "its decoder is {name:?}; supported are ByteLevel, Metaspace, WordPiece, \
                         BPEDecoder, CTC, and SentencePiece's sequence of Replace, ByteFallback, \
                         Fuse and Strip"
                    )
                    .into());
                }
            }
        }
        let spelling = match space {
            _ if byte_level => Spelling::ByteLevel,
            Some(space) if !space.is_empty() => Spelling::Marked { space, byte_fallback },
            _ => return Err("its decoder does not say how a space is written".into()),
        };
        Ok(Decoder { spelling, joining })
    }
}

/// The ids that the post-processor puts around a text.
fn added_by_post_processor(tokenizer: &Tokenizer) -> Result<(Vec<u32>, Vec<u32>)> {
    const TEXT: u32 = u32::MAX; // no token has this id
    let Some(processor) = tokenizer.get_post_processor() else {
        return Ok((Vec::new(), Vec::new()));
    };
    let text = Encoding::from_tokens(vec![Token::new(TEXT, "a".to_string(), (0, 1))], 0);
    let encoding = processor.process(text, None, true)?;
    let mut sides = encoding.get_ids().split(|id| *id == TEXT).map(<[u32]>::to_vec);
    match (sides.next(), sides.next(), sides.next()) {
        (Some(prefix), Some(suffix), None) => Ok((prefix, suffix)),
        _ => Err("its post-processor repeats or drops the text".into()),
    }
}

fn added_tokens(tokenizer: &Tokenizer) -> Vec<AddedToken> {
    let mut added: Vec<(u32, AddedToken)> =
        tokenizer.get_added_tokens_decoder().into_iter().collect();
    added.sort_unstable_by_key(|(id, _)| *id);
    added.into_iter().map(|(_, token)| token).collect()
}

fn token_infos(tokenizer: &Tokenizer, spelling: &Spelling) -> Result<Vec<TokenInfo>> {
    let empty = || TokenInfo { bytes: Vec::new(), kind: Kind::Hidden };
    let mut infos: Vec<TokenInfo> = Vec::new();
    let mut put = |id: u32, info: TokenInfo| -> Result<()> {
        let id = id as usize;
        if id >= MAX_TOKENS {
            return Err(format!("it gives a token the id {id}, over {MAX_TOKENS}").into());
        }
        if infos.len() <= id {
            infos.resize_with(id + 1, empty);
        }
        infos[id] = info;
        Ok(())
    };
    for (token, id) in tokenizer.get_model().get_vocab() {
        put(id, TokenInfo { bytes: spelling.bytes_of(&token), kind: Kind::Text })?;
    }
    for (id, token) in tokenizer.get_added_tokens_decoder() {
        // The decoder runs over added tokens too (Gemma's runs of spaces); a special one is shown as
        // a template writes it.
        let info = if token.special {
            TokenInfo { bytes: token.content.into_bytes(), kind: Kind::Special }
        } else {
            TokenInfo { bytes: spelling.bytes_of(&token.content), kind: Kind::Text }
        };
        put(id, info)?;
    }
    Ok(infos)
}
