//! A tokeniser as a chain of `tokenizers` parts: added tokens are cut out, the rest is normalised,
//! pre-tokenised and given to the model. `tokenizers::Tokenizer` itself decides once for all texts
//! whether special tokens are recognised; here each text says so (added_tokens.rs).

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use tokenizers::models::bpe::BpeTrainer;
use tokenizers::{
    AddedToken, Model, ModelWrapper, NormalizerWrapper, OffsetReferential, OffsetType,
    PreTokenizer, Result, Token,
};

use crate::added_tokens::{AddedTokens, Border};
use crate::sentencepiece::SentencePiece;

/// No vocabulary is nearly as large; it bounds what a hostile id can make us allocate.
pub const MAX_TOKENS: usize = 1 << 22;
/// Longer tokens exist only to do harm: some models of `tokenizers` recurse over a token's bytes.
pub const MAX_TOKEN_BYTES: usize = 4096;
/// A text beyond this cannot be a prompt of any model.
pub const MAX_TEXT_BYTES: usize = 32 << 20;

pub enum AnyModel {
    Library(ModelWrapper),
    SentencePiece(SentencePiece),
}

impl Model for AnyModel {
    type Trainer = BpeTrainer;

    fn tokenize(&self, sequence: &str) -> Result<Vec<Token>> {
        match self {
            AnyModel::Library(model) => model.tokenize(sequence),
            AnyModel::SentencePiece(model) => model.tokenize(sequence),
        }
    }
    fn token_to_id(&self, token: &str) -> Option<u32> {
        match self {
            AnyModel::Library(model) => model.token_to_id(token),
            AnyModel::SentencePiece(model) => model.token_to_id(token),
        }
    }
    fn id_to_token(&self, id: u32) -> Option<String> {
        match self {
            AnyModel::Library(model) => model.id_to_token(id),
            AnyModel::SentencePiece(model) => model.id_to_token(id),
        }
    }
    fn get_vocab(&self) -> HashMap<String, u32> {
        match self {
            AnyModel::Library(model) => model.get_vocab(),
            AnyModel::SentencePiece(model) => model.get_vocab(),
        }
    }
    fn get_vocab_size(&self) -> usize {
        match self {
            AnyModel::Library(model) => model.get_vocab_size(),
            AnyModel::SentencePiece(model) => model.get_vocab_size(),
        }
    }
    fn save(&self, folder: &Path, prefix: Option<&str>) -> Result<Vec<PathBuf>> {
        match self {
            AnyModel::Library(model) => model.save(folder, prefix),
            AnyModel::SentencePiece(model) => model.save(folder, prefix),
        }
    }
    fn get_trainer(&self) -> BpeTrainer {
        BpeTrainer::default()
    }
}

/// What the file's reader knows of one token.
pub struct TokenInfo {
    pub bytes: Vec<u8>,
    pub kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Kind {
    Text,
    /// Never part of a text that is shown, but not recognised in one either.
    Hidden,
    /// A control token: recognised only where asked for, and not shown.
    Special,
}

/// The bytes of all tokens, one after the other.
struct TokenTable {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    kinds: Vec<Kind>,
}

impl TokenTable {
    fn new(tokens: Vec<TokenInfo>) -> Result<Self> {
        let total: usize = tokens.iter().map(|t| t.bytes.len()).sum();
        u32::try_from(total).map_err(|_| "its tokens are over 4 GiB of text together")?;
        let mut table = TokenTable {
            bytes: Vec::with_capacity(total),
            ends: Vec::with_capacity(tokens.len()),
            kinds: Vec::with_capacity(tokens.len()),
        };
        for token in tokens {
            table.bytes.extend_from_slice(&token.bytes);
            table.ends.push(table.bytes.len() as u32);
            table.kinds.push(token.kind);
        }
        Ok(table)
    }

    fn get(&self, id: usize) -> &[u8] {
        let start = if id == 0 { 0 } else { self.ends[id - 1] as usize };
        &self.bytes[start..self.ends[id] as usize]
    }
}

/// How the bytes of tokens become a text, beyond putting them one after the other.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub struct Joining {
    pub strips_leading_space: bool,
    pub strips_trailing_space: bool,
    /// A token that is shown again at once counts once.
    pub merges_repeats: bool,
}

pub type Splitter = Box<dyn PreTokenizer + Send + Sync>;

pub struct Parts {
    pub model: AnyModel,
    pub normalizer: Option<NormalizerWrapper>,
    pub pre_tokenizer: Option<Splitter>,
    pub added_tokens: Vec<AddedToken>,
    pub tokens: Vec<TokenInfo>,
    /// Ids before and after a text that wants its special tokens.
    pub prefix: Vec<u32>,
    pub suffix: Vec<u32>,
    pub joining: Joining,
}

pub struct Pipeline {
    model: AnyModel,
    normalizer: Option<NormalizerWrapper>,
    pre_tokenizer: Option<Splitter>,
    added_tokens: AddedTokens,
    table: TokenTable,
    longest_token: usize,
    prefix: Vec<u32>,
    suffix: Vec<u32>,
    joining: Joining,
}

impl Pipeline {
    pub fn new(parts: Parts) -> Result<Self> {
        let Parts { model, normalizer, pre_tokenizer, mut added_tokens, tokens, .. } = parts;
        for id in parts.prefix.iter().chain(&parts.suffix) {
            if *id as usize >= tokens.len() {
                return Err(format!("the added token {id} is outside the vocabulary").into());
            }
        }
        for token in &mut added_tokens {
            // A special token is recognised as it is written, before any normalisation.
            token.normalized &= !token.special;
        }
        let added_tokens = AddedTokens::new(&added_tokens, &model, normalizer.as_ref())?;
        // These leave out white space, and make one token of what they do not know.
        let shortens = matches!(
            &model,
            AnyModel::Library(ModelWrapper::WordPiece(_) | ModelWrapper::Unigram(_))
        );
        let longest = tokens.iter().map(|t| t.bytes.len()).max().unwrap_or(0).max(1);
        let longest_token = if shortens { 0 } else { longest };
        Ok(Pipeline {
            model,
            normalizer,
            pre_tokenizer,
            added_tokens,
            table: TokenTable::new(tokens)?,
            longest_token,
            prefix: parts.prefix,
            suffix: parts.suffix,
            joining: parts.joining,
        })
    }

    /// `client`: ascending ranges of bytes in which no added token is recognised.
    pub fn encode(
        &self,
        text: &str,
        add_special: bool,
        parse_special: bool,
        client: &[Range<usize>],
    ) -> Result<Vec<u32>> {
        let (own, _) = self.encode_from(text, 0, parse_special, client)?;
        if !add_special {
            return Ok(own);
        }
        // A text that writes its own begin of sequence does not get a second one.
        let prefix = if own.starts_with(&self.prefix) { &[] } else { self.prefix.as_slice() };
        Ok([prefix, &own, &self.suffix].concat())
    }

    /// The tokens of what stands behind `from`, which is 0 or a border that the text has, and the
    /// borders there, each with the tokens before it.
    pub fn encode_from(
        &self,
        text: &str,
        from: usize,
        parse_special: bool,
        client: &[Range<usize>],
    ) -> Result<(Vec<u32>, Vec<(Border, usize)>)> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(format!("the text has {} bytes, over {MAX_TEXT_BYTES}", text.len()).into());
        }
        let normalizer = self.normalizer.as_ref();
        let (mut pieces, borders) =
            self.added_tokens.extract(text, from, parse_special, client, normalizer)?;
        if let Some(pre_tokenizer) = &self.pre_tokenizer {
            pre_tokenizer.pre_tokenize(&mut pieces)?;
        }
        let mut ids = Vec::with_capacity((text.len() - from) / 3 + 4);
        let mut counted = Vec::with_capacity(borders.len());
        let mut borders = borders.into_iter().peekable();
        for (piece, (_, end), tokens) in
            pieces.get_splits(OffsetReferential::Original, OffsetType::None)
        {
            match tokens {
                Some(tokens) => ids.extend(tokens.iter().map(|t| t.id)),
                None => ids.extend(self.model.tokenize(piece)?.iter().map(|t| t.id)),
            }
            if let Some(border) = borders.next_if(|border| border.at == end) {
                counted.push((border, ids.len()));
            }
        }
        Ok((ids, counted))
    }

    pub fn vocab_size(&self) -> usize {
        self.table.kinds.len()
    }

    pub fn token_bytes(&self, id: usize, show_special: bool) -> &[u8] {
        match self.table.kinds.get(id) {
            None => &[],
            Some(kind) if *kind != Kind::Text && !show_special => &[],
            Some(_) => self.table.get(id),
        }
    }

    pub fn is_special(&self, id: usize) -> bool {
        self.table.kinds.get(id) == Some(&Kind::Special)
    }

    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.added_tokens
            .id(token)
            .or_else(|| self.model.token_to_id(token))
            .filter(|id| (*id as usize) < self.vocab_size())
    }

    pub fn joining(&self) -> Joining {
        self.joining
    }

    pub fn longest_token(&self) -> usize {
        self.longest_token
    }
}
