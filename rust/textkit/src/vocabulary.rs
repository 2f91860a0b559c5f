//! Tokenisers from the arrays of a GGUF file.

use ahash::AHashMap;
use tokenizers::models::bpe::BPE;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::{BertNormalizer, Replace};
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{AddedToken, Result};

use crate::bytes::{byte_token, Spelling};
use crate::pipeline::{
    AnyModel, Joining, Kind, Parts, Pipeline, Splitter, TokenInfo, MAX_TOKENS, MAX_TOKEN_BYTES,
};
use crate::pre_tokenizers;
use crate::sentencepiece::{SentencePiece, SPACE};
use crate::unigram;

/// tokenizer.ggml.token_type
mod token_type {
    pub const NORMAL: i32 = 1;
    pub const UNKNOWN: i32 = 2;
    pub const CONTROL: i32 = 3;
    pub const USER_DEFINED: i32 = 4;
    pub const UNUSED: i32 = 5;
    pub const BYTE: i32 = 6;
}

/// Before a token that goes on with a word.
const CONTINUES: &str = "##";
/// A longer word is unknown, as in BERT's own tokeniser.
const LONGEST_WORD: usize = 100;

pub struct Vocabulary<'a> {
    pub sentencepiece: bool,
    pub wordpiece: bool,
    pub unigram: bool,
    /// What characters become before they are cut into tokens: Unigram only, may be empty.
    pub charsmap: &'a [u8],
    pub pre_tokenizer: &'a str,
    pub add_space_prefix: bool,
    pub tokens: Vec<&'a [u8]>,
    pub types: Option<&'a [i32]>,
    pub scores: Option<&'a [f32]>,
    pub merges: Vec<&'a [u8]>,
    /// Ids of added tokens that take the white space before or after them along.
    pub left_stripped: &'a [u32],
    pub right_stripped: &'a [u32],
    pub prefix: Option<u32>,
    pub suffix: Option<u32>,
}

impl Vocabulary<'_> {
    fn check(&self) -> Result<()> {
        if self.tokens.is_empty() || self.tokens.len() > MAX_TOKENS {
            let count = self.tokens.len();
            return Err(format!("it has {count} tokens, not 1 to {MAX_TOKENS}").into());
        }
        if let Some(id) = self.tokens.iter().position(|t| t.len() > MAX_TOKEN_BYTES) {
            let size = self.tokens[id].len();
            return Err(format!("token {id} has {size} bytes, over {MAX_TOKEN_BYTES}").into());
        }
        Ok(())
    }

    fn type_of(&self, id: usize) -> i32 {
        self.types.map_or(1, |types| types[id])
    }

    /// Texts by id. A text that is not UTF-8 can be generated but not be read from a prompt.
    fn texts(&self) -> Vec<String> {
        let text = |(id, bytes): (usize, &&[u8])| match std::str::from_utf8(bytes) {
            Ok(text) if !text.is_empty() => text.to_string(),
            _ => format!("[unreadable token {id}]"),
        };
        self.tokens.iter().enumerate().map(text).collect()
    }

    fn infos(&self, spelling: &Spelling) -> Vec<TokenInfo> {
        let info = |(id, raw): (usize, &&[u8])| {
            let kind = match self.type_of(id) {
                token_type::UNKNOWN | token_type::CONTROL => Kind::Special,
                token_type::UNUSED => Kind::Hidden,
                _ => Kind::Text,
            };
            let as_written = kind == Kind::Special || self.type_of(id) == token_type::USER_DEFINED;
            let bytes = match std::str::from_utf8(raw) {
                Ok(text) if self.type_of(id) == token_type::BYTE => {
                    byte_token(text).map_or_else(|| raw.to_vec(), |byte| vec![byte])
                }
                Ok(text) if !as_written => spelling.bytes_of(text),
                _ => raw.to_vec(),
            };
            TokenInfo { bytes, kind }
        };
        self.tokens.iter().enumerate().map(info).collect()
    }

    fn added_tokens(&self, texts: &[String]) -> Vec<AddedToken> {
        let added = |(id, text): (usize, &String)| {
            let special = match self.type_of(id) {
                token_type::UNKNOWN | token_type::CONTROL => true,
                token_type::USER_DEFINED => false,
                _ => return None,
            };
            let token = AddedToken::from(text.clone(), special)
                .normalized(false)
                .lstrip(self.left_stripped.contains(&(id as u32)))
                .rstrip(self.right_stripped.binary_search(&(id as u32)).is_ok());
            Some(token)
        };
        texts.iter().enumerate().filter_map(added).collect()
    }

    /// WordPiece as BERT has it. A file marks the tokens that begin a word, like SentencePiece, where
    /// the library marks those that go on with one.
    fn word_pieces(&self, texts: &[String]) -> Result<WordPiece> {
        let written = |(id, text): (usize, &String)| match text.strip_prefix(SPACE) {
            Some(begins) => begins.to_string(),
            None if self.type_of(id) != token_type::NORMAL => text.clone(),
            None if text.starts_with('[') && text.ends_with(']') => text.clone(),
            None => format!("{CONTINUES}{text}"),
        };
        let ids: AHashMap<String, u32> =
            texts.iter().enumerate().map(|(id, text)| (written((id, text)), id as u32)).collect();
        let unknown = self.unknown().map_or("[UNK]", |id| texts[id as usize].as_str());
        if !ids.contains_key(unknown) {
            return Err(
                format!("it has no token {unknown:?} for words that it does not know").into()
            );
        }
        WordPiece::builder()
            .vocab(ids)
            .unk_token(unknown.to_string())
            .continuing_subword_prefix(CONTINUES.to_string())
            .max_input_chars_per_word(LONGEST_WORD)
            .build()
    }

    fn scores(&self) -> Result<&[f32]> {
        Ok(self.scores.ok_or("it has no scores (tokenizer.ggml.scores)")?)
    }

    fn unknown(&self) -> Option<u32> {
        (0..self.tokens.len())
            .find(|&id| self.type_of(id) == token_type::UNKNOWN)
            .map(|id| id as u32)
    }

    fn merges(&self) -> Result<Vec<(String, String)>> {
        let split = |(rank, merge): (usize, &&[u8])| -> Result<(String, String)> {
            let text = std::str::from_utf8(merge)
                .map_err(|_| format!("merge {rank} is not valid UTF-8"))?;
            // The left part is never empty, but may itself begin with a space.
            let space = text.char_indices().skip(1).find(|(_, c)| *c == ' ');
            let (at, _) =
                space.ok_or_else(|| format!("merge {rank} is {text:?}, not \"left right\""))?;
            Ok((text[..at].to_string(), text[at + 1..].to_string()))
        };
        self.merges.iter().enumerate().map(split).collect()
    }

    pub fn build(&self) -> Result<Pipeline> {
        self.check()?;
        let texts = self.texts();
        let added_tokens = self.added_tokens(&texts);
        let mut normalizer = None;
        let marked = || Spelling::Marked { space: SPACE.to_string(), byte_fallback: false };
        let (model, pre_tokenizer, spelling) = if self.wordpiece {
            normalizer = Some(BertNormalizer::default().into());
            let model = AnyModel::Library(self.word_pieces(&texts)?.into());
            (model, Some(Box::new(BertPreTokenizer) as Splitter), marked())
        } else if self.unigram {
            let unknown =
                self.unknown().ok_or("it has no token for characters that it does not know")?;
            let is_normal = |id| self.type_of(id) == token_type::NORMAL;
            let model = unigram::model(texts, self.scores()?, is_normal, unknown)?;
            normalizer = unigram::normalizer(self.charsmap)?;
            (AnyModel::Library(model.into()), Some(unigram::splitter()), marked())
        } else if self.sentencepiece {
            let scores = self.scores()?;
            let unknown = self.unknown();
            let model = SentencePiece::new(texts, scores, unknown, self.add_space_prefix);
            (AnyModel::SentencePiece(model), None, marked())
        } else {
            let pre = pre_tokenizers::by_name(self.pre_tokenizer)?;
            let ids: AHashMap<String, u32> =
                texts.into_iter().enumerate().map(|(id, text)| (text, id as u32)).collect();
            let model = BPE::builder()
                .vocab_and_merges(ids, self.merges()?)
                .ignore_merges(pre.ignore_merges)
                .byte_fallback(pre.unencoded)
                .build()?;
            if pre.marks_spaces {
                normalizer = Some(Replace::new(" ", SPACE)?.into());
            }
            let spelling = match (pre.unencoded, pre.marks_spaces) {
                (false, _) => Spelling::ByteLevel,
                (true, true) => marked(),
                (true, false) => Spelling::AsWritten,
            };
            (AnyModel::Library(model.into()), Some(pre.splitter), spelling)
        };
        Pipeline::new(Parts {
            model,
            normalizer,
            pre_tokenizer,
            added_tokens,
            tokens: self.infos(&spelling),
            prefix: self.prefix.into_iter().collect(),
            suffix: self.suffix.into_iter().collect(),
            joining: Joining {
                strips_leading_space: self.wordpiece
                    || self.unigram
                    || (self.sentencepiece && self.add_space_prefix),
                ..Joining::default()
            },
        })
    }
}
