//! The bytes that tokens stand for.

use std::sync::OnceLock;

/// Which way a vocabulary writes bytes as text.
#[derive(Clone, Debug, PartialEq)]
pub enum Spelling {
    /// GPT-2's: each byte is one printable character.
    ByteLevel,
    /// SentencePiece's: a marker for the space, "<0xE2>" for bytes when `byte_fallback`.
    Marked { space: String, byte_fallback: bool },
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
}
