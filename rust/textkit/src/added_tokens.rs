//! The tokens that are found in a text as a whole, before it is normalised and cut into words:
//! control tokens, and what was added to a vocabulary later. As `tokenizers::AddedVocabulary` finds
//! them, but each text says whether control tokens count and which of its bytes a client chose: a
//! token is recognised only where all of it is the template's own. Client text stays text, and is
//! tokenised together with its neighbours as if there were no such tokens.

use std::collections::HashMap;
use std::ops::Range;

use aho_corasick::{AhoCorasick, Input, MatchKind};
use tokenizers::tokenizer::normalizer::Range as Offsets;
use tokenizers::{
    AddedToken, AddedVocabulary, Model, NormalizedString, Normalizer, NormalizerWrapper,
    PreTokenizedString, Result, Token,
};

pub struct AddedTokens {
    /// Found in the text as it is written.
    raw: Matcher,
    /// Found in the text once it is normalised.
    normalized: Matcher,
    ids: HashMap<String, u32>,
}

struct Matcher {
    automaton: AhoCorasick,
    tokens: Vec<(u32, AddedToken)>,
    longest: usize,
}

/// A piece of text, and the token that it is.
type Piece = (Option<u32>, Range<usize>);

/// The end of an added token that is found as it is written. What stands before it and what stands
/// behind it are tokenised apart, so the tokens of either do not depend on the other.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Border {
    pub at: usize,
    /// Another text has this border too where it is the same, and the client's in the same places,
    /// up to here: a longer token, or one that takes the space behind it along, would show.
    pub settled: usize,
}

impl AddedTokens {
    pub fn new(
        tokens: &[AddedToken],
        model: &impl Model,
        normalizer: Option<&NormalizerWrapper>,
    ) -> Result<AddedTokens> {
        let mut vocabulary = AddedVocabulary::new();
        vocabulary.add_tokens(tokens, model, normalizer);
        let ids: HashMap<String, u32> =
            vocabulary.get_vocab().iter().map(|(text, id)| (text.clone(), *id)).collect();
        let mut known: Vec<(u32, AddedToken)> =
            vocabulary.get_added_tokens_decoder().clone().into_iter().collect();
        known.sort_by_key(|(id, token)| (!token.special, *id));
        let (normalized, raw) = known.into_iter().partition(|(_, token)| token.normalized);
        Ok(AddedTokens {
            raw: Matcher::new(raw, None)?,
            normalized: Matcher::new(normalized, normalizer)?,
            ids,
        })
    }

    pub fn id(&self, token: &str) -> Option<u32> {
        self.ids.get(token).copied()
    }

    /// The text in pieces, normalised, with the added tokens in their place, and its borders.
    /// `client`: ascending ranges of bytes that do not overlap. What stands before `from`, which is
    /// 0 or a border, is one piece without tokens: pieces keep their places in the whole, which some
    /// pre-tokenisers ask for.
    pub fn extract(
        &self,
        text: &str,
        from: usize,
        parse_special: bool,
        client: &[Range<usize>],
        normalizer: Option<&NormalizerWrapper>,
    ) -> Result<(PreTokenizedString, Vec<Border>)> {
        let mut pieces: PreTokenizedString = text.into();
        let windows = outside(client, text.len());
        let found = self.raw.find(text, from, &windows, parse_special, |_| true);
        let borders = self.raw.borders(&found, text.len());
        pieces.split(|_, whole| {
            let mut parts = cut(&whole, found.clone())?;
            if from > 0 {
                let known = whole.slice(Offsets::Normalized(0..from));
                parts.insert(0, (known.ok_or("a border lies outside the text")?, Some(vec![])));
            }
            Ok(parts)
        })?;
        pieces.split(|_, mut piece| {
            if let Some(normalizer) = normalizer {
                normalizer.normalize(&mut piece)?;
            }
            let start = piece.offsets_original().0;
            let is_own = |range: Range<usize>| {
                let original = piece.convert_offsets(Offsets::Normalized(range));
                original.is_some_and(|r| !touches(client, start + r.start..start + r.end))
            };
            let whole = 0..piece.get().len();
            let found = self.normalized.find(piece.get(), 0, &[whole], parse_special, is_own);
            cut(&piece, found)
        })?;
        Ok((pieces, borders))
    }
}

impl Matcher {
    fn new(
        tokens: Vec<(u32, AddedToken)>,
        normalizer: Option<&NormalizerWrapper>,
    ) -> Result<Matcher> {
        let mut patterns = Vec::with_capacity(tokens.len());
        for (_, token) in &tokens {
            let mut content = NormalizedString::from(token.content.as_str());
            if let Some(normalizer) = normalizer {
                normalizer.normalize(&mut content)?;
            }
            patterns.push(content.get().to_string());
        }
        let longest = patterns.iter().map(String::len).max().unwrap_or(0);
        let automaton =
            AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(patterns)?;
        Ok(Matcher { automaton, tokens, longest })
    }

    /// The ends of the tokens among these pieces of a text, but for those whose text may still go
    /// on in another way.
    fn borders(&self, pieces: &[Piece], size: usize) -> Vec<Border> {
        const CHARACTER: usize = 4;
        let tokens = pieces.iter().filter(|(id, _)| id.is_some());
        let borders = tokens.map(|(_, range)| Border {
            at: range.end,
            settled: range.end + self.longest + CHARACTER,
        });
        borders.filter(|border| border.settled <= size).collect()
    }

    /// The pieces of `text` behind `from`, in order. A token lies within one of `windows`, and
    /// satisfies `allowed`.
    fn find(
        &self,
        text: &str,
        from: usize,
        windows: &[Range<usize>],
        parse_special: bool,
        allowed: impl Fn(Range<usize>) -> bool,
    ) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut done = from;
        for window in windows {
            let mut from = window.start.max(done);
            while from < window.end {
                let input = Input::new(text).range(from..window.end);
                let Some(found) = self.automaton.find(input) else { break };
                if found.end() == found.start() {
                    break;
                }
                from = found.end();
                let (id, token) = &self.tokens[found.pattern().as_usize()];
                if token.special && !parse_special || !fits(token, text, found.range()) {
                    continue;
                }
                if !allowed(found.range()) {
                    let first = text[found.start()..].chars().next().map_or(1, char::len_utf8);
                    from = found.start() + first;
                    continue;
                }
                let (mut start, mut end) = (found.start(), found.end());
                if token.lstrip {
                    start = text[done..start].trim_end().len() + done;
                }
                if token.rstrip {
                    end = text.len() - text[end..].trim_start().len();
                }
                if done < start {
                    pieces.push((None, done..start));
                }
                pieces.push((Some(*id), start..end));
                done = end;
                from = end;
            }
        }
        if done < text.len() || text.is_empty() {
            pieces.push((None, done..text.len()));
        }
        pieces
    }
}

/// A token that is to be a word of its own has no letters beside it.
fn fits(token: &AddedToken, text: &str, range: Range<usize>) -> bool {
    let is_word = |c: Option<char>| c.is_some_and(|c| c == '_' || c.is_alphanumeric());
    let before = text[..range.start].chars().next_back();
    let after = text[range.end..].chars().next();
    !token.single_word || !is_word(before) && !is_word(after)
}

fn cut(
    text: &NormalizedString,
    pieces: Vec<Piece>,
) -> Result<Vec<(NormalizedString, Option<Vec<Token>>)>> {
    let cut_one = |(id, range): Piece| {
        let size = range.len();
        let piece =
            text.slice(Offsets::Normalized(range)).ok_or("a piece lies outside the text")?;
        let token = id.map(|id| vec![Token::new(id, String::new(), (0, size))]);
        Ok((piece, token))
    };
    pieces.into_iter().map(cut_one).collect()
}

/// What lies between ranges.
fn outside(ranges: &[Range<usize>], size: usize) -> Vec<Range<usize>> {
    let ends = ranges.iter().map(|range| range.end);
    let starts = ranges.iter().map(|range| range.start).chain([size]);
    let between = std::iter::once(0).chain(ends).zip(starts);
    between.filter(|(from, to)| from < to).map(|(from, to)| from..to).collect()
}

fn touches(ranges: &[Range<usize>], range: Range<usize>) -> bool {
    let next = ranges.partition_point(|other| other.end <= range.start);
    ranges.get(next).is_some_and(|other| other.start < range.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_what_lies_between() {
        assert_eq!(outside(&[2..4, 6..8], 8), [0..2, 4..6]);
        assert_eq!(outside(&[], 3), std::slice::from_ref(&(0..3)));
        assert!(touches(&[2..4, 6..8], 3..5));
        assert!(!touches(&[2..4, 6..8], 4..6));
        assert!(!touches(&[2..4, 6..8], 8..9));
    }
}
