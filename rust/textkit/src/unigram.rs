//! SentencePiece's Unigram (Kudo 2018) as XLM-R and its kin have it in GGUF files: of all ways to cut
//! a word into tokens the one with the highest sum of scores. Words are cut at white space, after
//! the file's own map of characters.

use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::Precompiled;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;
use tokenizers::{NormalizerWrapper, Result};

use crate::pipeline::Splitter;
use crate::sentencepiece::SPACE;

/// `is_normal` by id: what else a file scores, such as rows that no token has, is only ever found as
/// it is written, and must not make characters that no token has cheaper or dearer.
pub fn model(
    tokens: Vec<String>,
    scores: &[f32],
    is_normal: impl Fn(usize) -> bool,
    unknown: u32,
) -> Result<Unigram> {
    let normal = (0..tokens.len()).filter(|&id| is_normal(id) && scores[id].is_finite());
    let lowest = normal.map(|id| f64::from(scores[id])).fold(0.0, f64::min);
    let score = |id: usize| {
        let score = f64::from(scores[id]);
        if score >= lowest {
            score
        } else {
            lowest
        }
    };
    let scored = tokens.into_iter().enumerate().map(|(id, token)| (token, score(id))).collect();
    Unigram::from(scored, Some(unknown as usize), false)
}

/// The map of characters (tokenizer.ggml.precompiled_charsmap): a trie behind its size in bytes, and
/// what characters become.
pub fn normalizer(charsmap: &[u8]) -> Result<Option<NormalizerWrapper>> {
    if charsmap.is_empty() {
        return Ok(None);
    }
    let size = charsmap.first_chunk().map_or(usize::MAX, |head| u32::from_le_bytes(*head) as usize);
    if size > charsmap.len() - 4.min(charsmap.len()) || size % 4 != 0 || size == 0 {
        return Err("its map of characters (precompiled_charsmap) is not one".into());
    }
    let map = Precompiled::from(charsmap)
        .map_err(|error| format!("its map of characters cannot be read: {error}"))?;
    Ok(Some(map.into()))
}

pub fn splitter() -> Splitter {
    let space = SPACE.chars().next().unwrap_or(' ');
    let marked = Metaspace::new(space, PrependScheme::Always, true);
    Box::new(Sequence::new(vec![WhitespaceSplit.into(), marked.into()]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizers::Model;

    fn ids(tokens: &[(&str, f32)], is_normal: impl Fn(usize) -> bool, text: &str) -> Vec<u32> {
        let scores: Vec<f32> = tokens.iter().map(|t| t.1).collect();
        let names = tokens.iter().map(|t| t.0.to_string()).collect();
        let model = model(names, &scores, is_normal, 0).unwrap();
        model.tokenize(text).unwrap().iter().map(|t| t.id).collect()
    }

    #[test]
    fn the_best_sum_wins_and_neighbours_that_are_unknown_are_one() {
        let tokens = [("<unk>", 0.0), ("a", -2.0), ("b", -2.0), ("ab", -3.0), ("abb", -6.0)];
        assert_eq!(ids(&tokens, |id| id > 0, "abb"), [3, 2]);
        assert_eq!(ids(&tokens, |id| id > 0, "axyb"), [1, 0, 2]);
    }

    #[test]
    fn scores_of_rows_without_tokens_change_nothing() {
        let words = [("<unk>", 0.0), ("xy", -1.0), ("yz", -9.0), ("z", -2.5)];
        let padded = [words.as_slice(), &[("[PAD4]", -10000.0), ("[PAD5]", f32::NAN)]].concat();
        let normal = |id: usize| (1..4).contains(&id);
        for text in ["xyz", "yzx", "xx"] {
            assert_eq!(ids(&words, normal, text), ids(&padded, normal, text), "{text}");
        }
    }

    #[test]
    fn a_map_of_characters_that_is_cut_off_is_refused() {
        for bytes in [&[1][..], &[255, 255, 255, 255, 0, 0, 0, 0], &[8, 0, 0, 0, 0, 0, 0, 0]] {
            assert!(normalizer(bytes).is_err(), "{bytes:?}");
        }
        assert!(normalizer(&[]).unwrap().is_none());
    }
}
