//! Tokenisers from a Hugging Face tokenizer.json.

use serde_json::Value;
use tokenizers::{
    AddedToken, Encoding, Model, ModelWrapper, PostProcessor, Result, Token, Tokenizer,
};

use crate::bytes::Spelling;
use crate::json;
use crate::pipeline::{AnyModel, Kind, Parts, Pipeline, TokenInfo, MAX_TOKENS};

pub fn load(text: &str, prefix: Option<u32>, suffix: Option<u32>) -> Result<Pipeline> {
    let root: Value = serde_json::from_str(text)?;
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
    let (normalizer, pre_tokenizer) =
        (tokenizer.get_normalizer().cloned(), tokenizer.get_pre_tokenizer().cloned());
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
        strips_leading_space: decoder.strips_leading_space,
    })
}

/// How the file says that tokens are joined to text.
struct Decoder {
    spelling: Spelling,
    strips_leading_space: bool,
}

impl Decoder {
    fn read(decoder: &Value) -> Result<Decoder> {
        let single = std::slice::from_ref(decoder);
        let steps = match decoder["decoders"].as_array() {
            Some(steps) if decoder["type"] == "Sequence" => steps.as_slice(),
            _ => single,
        };
        let mut space = None;
        let mut byte_level = false;
        let mut byte_fallback = false;
        let mut strips_leading_space = false;
        for step in steps {
            match step["type"].as_str() {
                Some("ByteLevel") => byte_level = true,
                Some("ByteFallback") => byte_fallback = true,
                Some("Fuse") => {}
                Some("Metaspace") => {
                    space = Some(step["replacement"].as_str().unwrap_or("\u{2581}").to_string());
                    strips_leading_space =
                        step["prepend_scheme"] != "never" && step["add_prefix_space"] != false;
                }
                Some("Replace") if step["content"] == " " => {
                    space = step["pattern"]["String"].as_str().map(str::to_string);
                }
                Some("Strip") if step["content"] == " " && step["stop"] == 0 => {
                    strips_leading_space = step["start"] == 1;
                }
                other => {
                    let name = other.unwrap_or("none");
                    return Err(format!(
                        "its decoder is {name:?}; supported are ByteLevel, Metaspace, and \
                         SentencePiece's sequence of Replace, ByteFallback, Fuse and Strip"
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
        Ok(Decoder { spelling, strips_leading_space })
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
        let kind = if token.special { Kind::Special } else { Kind::Text };
        put(id, TokenInfo { bytes: token.content.into_bytes(), kind })?;
    }
    Ok(infos)
}
