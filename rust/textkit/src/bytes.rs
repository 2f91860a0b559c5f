//! The bytes that tokens stand for.

use std::sync::OnceLock;

use tokenizers::decoders::wordpiece::cleanup as cleaned;

/// Which way a vocabulary writes text, as a decoder of `tokenizers` reads it.
#[derive(Clone, Debug, PartialEq)]
pub enum Spelling {
    /// GPT-2's: each byte is one printable character.
    ByteLevel,
    /// SentencePiece's: a marker for the space, "<0xE2>" for bytes when `byte_fallback`.
    Marked { space: String, byte_fallback: bool },
    /// WordPiece's: a prefix where a token goes on with the word, else a space goes before it.
    Continued { prefix: String, cleanup: bool },
    /// The older BPE's: a suffix where a word ends, and a space after it.
    Ended { suffix: String },
    /// CTC's: a token for the border of words, one for nothing.
    Timed { pad: String, delimiter: String, cleanup: bool },
    /// No decoder: a space before every token.
    Separate,
    /// Tokens are the text.
    AsWritten,
}

impl Spelling {
    pub fn bytes_of(&self, token: &str) -> Vec<u8> {
        match self {
            Spelling::ByteLevel => {
                byte_level_bytes(token).unwrap_or_else(|| token.as_bytes().to_vec())
            }
            Spelling::Marked { space, byte_fallback } => match byte_token(token) {
                Some(byte) if *byte_fallback => vec![byte],
                _ => token.replace(space.as_str(), " ").into_bytes(),
            },
            Spelling::Continued { prefix, cleanup } => {
                let text = match token.strip_prefix(prefix.as_str()) {
                    Some(rest) => rest.to_string(),
                    None => format!(" {token}"),
                };
                if *cleanup { cleaned(&text) } else { text }.into_bytes()
            }
            Spelling::Ended { suffix } => token.replace(suffix.as_str(), " ").into_bytes(),
            Spelling::Timed { pad, delimiter, cleanup } => {
                let text = token.replace(pad.as_str(), "");
                // As in `tokenizers`, the border of words is a space only in a text that is cleaned.
                if *cleanup { cleaned(&text).replace(delimiter.as_str(), " ") } else { text }
                    .into_bytes()
            }
            Spelling::Separate => format!(" {token}").into_bytes(),
            Spelling::AsWritten => token.as_bytes().to_vec(),
        }
    }
}

/// The byte of a token written as "<0xE2>".
pub fn byte_token(token: &str) -> Option<u8> {
    let hex = token.strip_prefix("<0x")?.strip_suffix('>')?;
    if hex.len() != 2 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u8::from_str_radix(hex, 16).ok()
}

/// GPT-2's table: printable Latin-1 bytes are themselves, the 68 others follow from U+0100.
fn byte_level_table() -> &'static [u16; 0x144] {
    static TABLE: OnceLock<[u16; 0x144]> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = [u16::MAX; 0x144];
        let mut next = 0x100;
        for byte in 0..256usize {
            let printable = matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
            let character = if printable { byte } else { next };
            if !printable {
                next += 1;
            }
            table[character] = byte as u16;
        }
        table
    })
}

fn byte_level_bytes(token: &str) -> Option<Vec<u8>> {
    let table = byte_level_table();
    token.chars().map(|c| table.get(c as usize).and_then(|&b| u8::try_from(b).ok())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_level_knows_all_bytes() {
        let table = byte_level_table();
        let mut seen: Vec<u16> = table.iter().copied().filter(|&b| b < 256).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..256).collect::<Vec<u16>>());
        assert_eq!(Spelling::ByteLevel.bytes_of("\u{120}a"), b" a");
        assert_eq!(Spelling::ByteLevel.bytes_of("\u{4E00}"), "\u{4E00}".as_bytes());
    }

    #[test]
    fn marked_tokens() {
        let marked = Spelling::Marked { space: "\u{2581}".into(), byte_fallback: true };
        assert_eq!(marked.bytes_of("\u{2581}the"), b" the");
        assert_eq!(marked.bytes_of("<0xE2>"), [0xE2]);
        assert_eq!(marked.bytes_of("<0x+2>"), b"<0x+2>");
    }

    #[test]
    fn words_that_are_marked_at_their_ends() {
        let wordpiece = |cleanup| Spelling::Continued { prefix: "##".into(), cleanup };
        assert_eq!(wordpiece(false).bytes_of("the"), b" the");
        assert_eq!(wordpiece(true).bytes_of("##ing"), b"ing");
        assert_eq!(wordpiece(true).bytes_of(","), b",");
        assert_eq!(wordpiece(false).bytes_of(","), b" ,");
        let bpe = Spelling::Ended { suffix: "</w>".into() };
        assert_eq!(bpe.bytes_of("ing</w>"), b"ing ");
        let ctc = Spelling::Timed { pad: "<pad>".into(), delimiter: "|".into(), cleanup: true };
        assert_eq!(ctc.bytes_of("<pad>"), b"");
        assert_eq!(ctc.bytes_of("|"), b" ");
    }
}
