//! SentencePiece's BPE: the best-scored pair of neighbours is merged first (Kudo & Richardson 2018),
//! the leftmost on a tie. What is in no token falls back to byte tokens.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};
use std::path::{Path, PathBuf};

use ahash::AHashMap;
use tokenizers::models::bpe::BpeTrainer;
use tokenizers::{Model, Result, Token};

pub const SPACE: &str = "\u{2581}";

pub struct SentencePiece {
    ids: AHashMap<String, u32>,
    tokens: Vec<String>,
    scores: Vec<f32>,
    byte_ids: [Option<u32>; 256],
    unknown: Option<u32>,
    /// A text (and what follows a special token) begins with a space.
    space_prefix: bool,
}

#[derive(Clone, Copy)]
struct Symbol {
    start: usize,
    end: usize, // == start: merged into its left neighbour
    previous: usize,
    next: usize,
}

const NONE: usize = usize::MAX;

struct Pair {
    score: f32,
    left: usize,
    right: usize,
    end: usize,
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.left.cmp(&self.left))
    }
}
impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Pair {}

impl SentencePiece {
    /// `tokens` and `scores` are by id; where a text occurs twice the higher id wins.
    pub fn new(
        tokens: Vec<String>,
        scores: &[f32],
        unknown: Option<u32>,
        space_prefix: bool,
    ) -> Self {
        let ids: AHashMap<String, u32> =
            tokens.iter().enumerate().map(|(id, token)| (token.clone(), id as u32)).collect();
        let byte_ids = std::array::from_fn(|byte| ids.get(&format!("<0x{byte:02X}>")).copied());
        // -0 + 0 is +0: the two compare equal, as total_cmp would not have it.
        let scores =
            scores.iter().map(|&s| if s.is_nan() { f32::NEG_INFINITY } else { s + 0.0 }).collect();
        SentencePiece { ids, tokens, scores, byte_ids, unknown, space_prefix }
    }

    fn pair(&self, text: &str, symbols: &[Symbol], left: usize, right: usize) -> Option<Pair> {
        if left == NONE || right == NONE {
            return None;
        }
        let end = symbols[right].end;
        let id = *self.ids.get(&text[symbols[left].start..end])?;
        Some(Pair { score: self.scores[id as usize], left, right, end })
    }

    fn merge(&self, text: &str) -> Vec<Symbol> {
        let mut symbols: Vec<Symbol> = text
            .char_indices()
            .enumerate()
            .map(|(i, (start, c))| Symbol {
                start,
                end: start + c.len_utf8(),
                previous: if i == 0 { NONE } else { i - 1 },
                next: i + 1,
            })
            .collect();
        if let Some(last) = symbols.last_mut() {
            last.next = NONE;
        }
        let mut queue: BinaryHeap<Pair> =
            (1..symbols.len()).filter_map(|i| self.pair(text, &symbols, i - 1, i)).collect();
        while let Some(Pair { left, right, end, .. }) = queue.pop() {
            // A pair whose parts have been merged elsewhere since is stale.
            let (l, r) = (symbols[left], symbols[right]);
            if l.start == l.end || r.start == r.end || l.next != right || r.end != end {
                continue;
            }
            symbols[left].end = end;
            symbols[left].next = r.next;
            symbols[right].end = r.start;
            if r.next != NONE {
                symbols[r.next].previous = left;
            }
            queue.extend(self.pair(text, &symbols, l.previous, left));
            queue.extend(self.pair(text, &symbols, left, r.next));
        }
        symbols.retain(|s| s.start != s.end);
        symbols
    }
}

impl Model for SentencePiece {
    type Trainer = BpeTrainer;

    fn tokenize(&self, sequence: &str) -> Result<Vec<Token>> {
        let mut text = String::with_capacity(sequence.len() + 16);
        if self.space_prefix {
            text.push_str(SPACE);
        }
        text.push_str(&sequence.replace(' ', SPACE));
        let mut tokens = Vec::new();
        for symbol in self.merge(&text) {
            let piece = &text[symbol.start..symbol.end];
            let span = (symbol.start, symbol.end);
            if let Some(&id) = self.ids.get(piece) {
                tokens.push(Token::new(id, String::new(), span));
            } else {
                let bytes =
                    piece.bytes().filter_map(|b| self.byte_ids[b as usize].or(self.unknown));
                tokens.extend(bytes.map(|id| Token::new(id, String::new(), span)));
            }
        }
        Ok(tokens)
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        self.ids.get(token).copied()
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        self.tokens.get(id as usize).cloned()
    }

    fn get_vocab(&self) -> HashMap<String, u32> {
        self.ids.iter().map(|(token, id)| (token.clone(), *id)).collect()
    }

    fn get_vocab_size(&self) -> usize {
        self.tokens.len()
    }

    fn save(&self, _folder: &Path, _prefix: Option<&str>) -> Result<Vec<PathBuf>> {
        Err("a vocabulary read from a GGUF file is not written".into())
    }

    fn get_trainer(&self) -> BpeTrainer {
        BpeTrainer::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(tokens: &[(&str, f32)], prefix: bool, text: &str) -> Vec<u32> {
        let scores: Vec<f32> = tokens.iter().map(|t| t.1).collect();
        let names = tokens.iter().map(|t| t.0.to_string()).collect();
        let model = SentencePiece::new(names, &scores, None, prefix);
        model.tokenize(text).unwrap().iter().map(|t| t.id).collect()
    }

    #[test]
    fn best_score_first_then_leftmost() {
        let tokens = [("a", 0.0), ("b", 0.0), ("ab", -2.0), ("ba", -1.0), ("aa", -1.0)];
        assert_eq!(ids(&tokens, false, "aba"), [0, 3]);
        assert_eq!(ids(&tokens, false, "aaa"), [4, 0]);
    }

    #[test]
    fn unknown_characters_become_bytes_and_spaces_are_marked() {
        let tokens = [("\u{2581}", 0.0), ("<0xC3>", 0.0), ("<0xA9>", 0.0)];
        assert_eq!(ids(&tokens, true, " \u{E9}"), [0, 0, 1, 2]);
    }
}
