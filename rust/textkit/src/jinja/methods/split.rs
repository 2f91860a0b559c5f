//! Where methods of str cut a string.

use std::ops::Range;

use super::super::text::is_space;

pub fn split(source: &str, separator: &str, limit: usize, from_right: bool) -> Vec<Range<usize>> {
    let mut found: Vec<usize> = if from_right {
        source.rmatch_indices(separator).take(limit).map(|(at, _)| at).collect()
    } else {
        source.match_indices(separator).take(limit).map(|(at, _)| at).collect()
    };
    if from_right {
        found.reverse();
    }
    let mut parts = Vec::with_capacity(found.len() + 1);
    let mut from = 0;
    for at in found {
        parts.push(from..at);
        from = at + separator.len();
    }
    parts.push(from..source.len());
    parts
}

pub fn split_spaces(source: &str, limit: usize, from_right: bool) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let (mut start, mut end) = (0, source.len());
    loop {
        if from_right {
            end = source[..end].trim_end_matches(is_space).len();
        } else {
            start = end - source[start..end].trim_start_matches(is_space).len();
        }
        if start == end {
            break;
        }
        if parts.len() >= limit {
            // The near side has no spaces any more; the far one keeps its own.
            parts.push(start..end);
            break;
        }
        if from_right {
            let word = source[..end]
                .rfind(is_space)
                .map_or(0, |at| at + source[at..].chars().next().map_or(0, char::len_utf8));
            parts.push(word..end);
            end = word;
        } else {
            let word = source[start..end].find(is_space).map_or(end, |at| start + at);
            parts.push(start..word);
            start = word;
        }
    }
    if from_right {
        parts.reverse();
    }
    parts
}

/// str.splitlines
pub fn lines(source: &str, keep_ends: bool) -> Vec<Range<usize>> {
    let is_end = |c: char| {
        matches!(c, '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e')
            || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}')
    };
    let mut lines = Vec::new();
    let mut from = 0;
    while let Some(found) = source[from..].find(is_end) {
        let end = from + found;
        let mut next = end + source[end..].chars().next().map_or(0, char::len_utf8);
        if source[end..].starts_with("\r\n") {
            next = end + 2;
        }
        lines.push(from..if keep_ends { next } else { end });
        from = next;
    }
    if from < source.len() {
        lines.push(from..source.len());
    }
    lines
}
