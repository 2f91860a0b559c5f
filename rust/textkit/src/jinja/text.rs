//! Text that knows whose each of its bytes is. A template writes special tokens as text, and so may
//! a message; once rendered they look the same. So every string that a template handles carries,
//! beside its bytes, the spans that a client chose, and whatever is cut out of it or put together
//! with it keeps them. The spans never change what is rendered.

use std::ops::Range;

use super::limits::Charge;

/// Who chose a text, or a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    Template,
    Client,
}

impl Origin {
    /// Of what is computed from two.
    pub fn and(self, other: Origin) -> Origin {
        if self == Origin::Client {
            self
        } else {
            other
        }
    }
}

#[derive(Clone, Default, Debug)]
pub struct Text {
    bytes: String,
    /// The client's: ascending, none empty, no two touch.
    client: Vec<Range<usize>>,
    charge: Charge,
}

impl Text {
    pub fn new() -> Text {
        Text::default()
    }

    pub fn of(text: impl Into<String>, origin: Origin) -> Text {
        let bytes = text.into();
        let client = if origin == Origin::Client && !bytes.is_empty() {
            std::iter::once(0..bytes.len()).collect()
        } else {
            Vec::new()
        };
        Text { bytes, client, charge: Charge::default() }
    }

    /// Counts its memory, for as long as it lives, to the rendering of this thread.
    pub fn charged(mut self) -> Text {
        let spans = self.client.capacity() * std::mem::size_of::<Range<usize>>();
        self.charge = Charge::of(self.bytes.capacity() + spans + std::mem::size_of::<Text>());
        self
    }

    pub fn as_str(&self) -> &str {
        &self.bytes
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn into_parts(self) -> (String, Vec<Range<usize>>) {
        (self.bytes, self.client)
    }

    /// Client where any of it is.
    pub fn origin(&self) -> Origin {
        if self.client.is_empty() {
            Origin::Template
        } else {
            Origin::Client
        }
    }

    pub fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
        while self.client.last().is_some_and(|span| span.start >= len) {
            self.client.pop();
        }
        if let Some(last) = self.client.last_mut() {
            last.end = last.end.min(len);
        }
    }

    pub fn push(&mut self, text: &str, origin: Origin) {
        let start = self.bytes.len();
        self.bytes.push_str(text);
        if origin == Origin::Client {
            self.mark(start..self.bytes.len());
        }
    }

    pub fn push_char(&mut self, c: char, origin: Origin) {
        self.push(c.encode_utf8(&mut [0; 4]), origin);
    }

    pub fn push_repeated(&mut self, c: char, count: usize, origin: Origin) {
        let start = self.bytes.len();
        self.bytes.extend(std::iter::repeat_n(c, count));
        if origin == Origin::Client {
            self.mark(start..self.bytes.len());
        }
    }

    /// The text `count` times.
    pub fn repeated(&self, count: usize) -> Text {
        if self.client.is_empty() || self.client[0] == (0..self.len()) {
            return Text::of(self.bytes.repeat(count), self.origin());
        }
        let mut out = Text::new();
        (0..count).for_each(|_| out.push_text(self));
        out
    }

    pub fn push_text(&mut self, text: &Text) {
        let start = self.bytes.len();
        self.bytes.push_str(&text.bytes);
        for span in &text.client {
            self.mark(start + span.start..start + span.end);
        }
    }

    /// `range` lies on character boundaries.
    pub fn push_slice(&mut self, text: &Text, range: Range<usize>) {
        let start = self.bytes.len();
        self.bytes.push_str(&text.bytes[range.clone()]);
        for span in text.spans_in(&range) {
            self.mark(start + span.start - range.start..start + span.end - range.start);
        }
    }

    pub fn slice(&self, range: Range<usize>) -> Text {
        let mut out = Text::new();
        out.push_slice(self, range);
        out
    }

    /// The text in pieces of one origin each.
    pub fn runs(&self) -> impl Iterator<Item = (&str, Origin)> {
        let mut at = 0;
        let mut spans = self.client.iter().peekable();
        std::iter::from_fn(move || {
            if at == self.bytes.len() {
                return None;
            }
            let (end, origin) = match spans.peek() {
                Some(span) if span.start == at => (spans.next()?.end, Origin::Client),
                Some(span) => (span.start, Origin::Template),
                None => (self.bytes.len(), Origin::Template),
            };
            let run = &self.bytes[at..end];
            at = end;
            Some((run, origin))
        })
    }

    pub fn chars(&self) -> impl Iterator<Item = (char, Origin)> + '_ {
        self.runs().flat_map(|(run, origin)| run.chars().map(move |c| (c, origin)))
    }

    fn spans_in<'a>(&'a self, range: &'a Range<usize>) -> impl Iterator<Item = Range<usize>> + 'a {
        let first = self.client.partition_point(|span| span.end <= range.start);
        self.client[first..]
            .iter()
            .take_while(|span| span.start < range.end)
            .map(|span| span.start.max(range.start)..span.end.min(range.end))
            .filter(|span| !span.is_empty())
    }

    fn mark(&mut self, span: Range<usize>) {
        if span.is_empty() {
            return;
        }
        match self.client.last_mut() {
            Some(last) if last.end == span.start => last.end = span.end,
            _ => self.client.push(span),
        }
    }
}

/// The byte at which character `index` of `text` begins; its length where there are fewer.
pub fn byte_of_char(text: &str, index: usize) -> usize {
    if text.is_ascii() {
        return index.min(text.len());
    }
    text.char_indices().nth(index).map_or(text.len(), |(at, _)| at)
}

pub fn count_chars(text: &str) -> usize {
    if text.is_ascii() {
        text.len()
    } else {
        text.chars().count()
    }
}

/// str.isspace: Unicode's White_Space and the four separators of ASCII.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixed() -> Text {
        let mut text = Text::of("ab", Origin::Template);
        text.push("cd", Origin::Client);
        text.push("", Origin::Client);
        text.push("é", Origin::Client);
        text.push("f", Origin::Template);
        text
    }

    #[test]
    fn neighbouring_spans_are_one() {
        assert_eq!(mixed().client, [2..6]);
    }

    #[test]
    fn slices_keep_their_part() {
        assert_eq!(mixed().slice(1..3).client, [1..2]);
        assert!(mixed().slice(0..2).client.is_empty());
        let mut joined = mixed().slice(3..7);
        joined.push_text(&mixed());
        assert_eq!(joined.as_str(), "défabcdéf");
        assert_eq!(joined.client, [0..3, 6..10]);
        joined.truncate(7);
        assert_eq!(joined.client, [0..3, 6..7]);
    }

    #[test]
    fn runs_cover_the_text() {
        let text = mixed();
        let runs: Vec<(&str, Origin)> = text.runs().collect();
        let expected = [("ab", Origin::Template), ("cdé", Origin::Client), ("f", Origin::Template)];
        assert_eq!(runs, expected);
    }
}
