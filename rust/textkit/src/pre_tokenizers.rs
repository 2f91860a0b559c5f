//! The pre-tokenisers that GGUF files name in tokenizer.ggml.pre. Each is a sequence of patterns by
//! which a text is cut before byte-pair merges run, as the models' own tokenizer.json state them.

use tokenizers::pattern::Pattern;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::utils::SysRegex;
use tokenizers::{
    Offsets, PreTokenizedString, PreTokenizer as PreTokenize, Result, SplitDelimiterBehavior,
};

use crate::pipeline::Splitter;

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN35: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const SEED_CODER: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+";
const BAILING: &str = r"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const DEEPSEEK3: &str = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+";
const UFAKZEKA: &str =
    r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const JAIS2: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}";
const MINICPM5: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const EXAONE_MOE: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+";
const KIMI_K2: &str = r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const YOUTU: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const YOUTU_SCRIPTS: &str = "[\u{AC00}-\u{D7A3}\u{3131}-\u{318E}]+|[\u{FF01}\u{2026}\u{201C}\u{201D}\u{2018}\u{2019}\u{2014}\u{FF1A}\u{FF1B}\u{FF0C}\u{3001}-\u{303F}\u{FE30}-\u{FE4F}]+|[\u{3105}-\u{312F}]+|[\u{4E00}-\u{9FA5}\u{3040}-\u{309F}\u{30A0}-\u{30FF}]+";
const SPARK25: &str = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+|[\r\n]|\\s+(?!\\S)|\\s+";
const AFMOE_SCRIPTS: &str = "[\u{4E00}-\u{9FFF}\u{3400}-\u{4DBF}\u{8C48}-\u{FAFF}\u{3040}-\u{309F}\u{30A0}-\u{30FF}\u{FF65}-\u{FF9F}\u{2F00}-\u{2FDF}\u{0E40}-\u{0E7F}\u{0E80}-\u{0EFF}\u{1780}-\u{17FF}\u{1000}-\u{109F}\u{AA60}-\u{AA7F}\u{A9E0}-\u{A9FF}\u{AC00}-\u{D7AF}\u{1100}-\u{11FF}]+";
/// Digits up to the border of a word; Oniguruma, which the model was made with, counts some fractions
/// and powers among the characters of words.
const DIGITS_TO_A_BORDER: &str =
    r"(?<!\d)(?>\d+)(?![\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{B2}\x{B3}\x{B9}\x{BC}-\x{BE}])";
const LINES: &str = r"[^\n]+|[\n]+";
const DEEPSEEK_LLM_LETTERS: &str = r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+";
const DEEPSEEK_LLM_SIGNS: &str =
    "\\s?[!-/:-~\u{FF01}-\u{FF0F}\u{FF1A}-\u{FF5E}\u{2018}-\u{201F}\u{3000}-\u{3002}]+";
const CHAMELEON_SIGNS: &str = r"[\p{P}!-/:-@\[-`{-~]";
const HAN_KANA: &str = "[\u{4E00}-\u{9FA5}\u{3040}-\u{309F}\u{30A0}-\u{30FF}]+";
const HAN_HANGUL: &str = "[\u{4E00}-\u{9FA5}\u{0800}-\u{4E00}\u{AC00}-\u{D7FF}]+";
const BLOOM: &str = " ?[^(\\s|.,!?\u{2026}\u{3002}\u{FF0C}\u{3001}\u{0964}\u{06D4}\u{060C})]+";

/// One cut through all pieces that the cuts before it left.
#[derive(Clone, Copy)]
enum Cut {
    Pattern(&'static str),
    /// Groups of three digits, counted from the right end of a run. `runs` finds the runs in linear
    /// time, which the models' own pattern (a look-ahead to the end of the run at every digit) does
    /// not; with `alone`, a run is cut off from what stands beside it.
    DigitGroups {
        runs: &'static str,
        alone: bool,
    },
}

use Cut::{DigitGroups, Pattern as P};

/// How pieces are written in the vocabulary.
#[derive(Clone, Copy, PartialEq)]
enum Writing {
    ByteLevel,
    /// As they are, with U+2581 for a space.
    MarkedSpaces,
    AsTheyAre,
}

/// How a named pre-tokeniser cuts, and whether a piece that is a token stays whole.
struct Named {
    names: &'static [&'static str],
    cuts: &'static [Cut],
    ignore_merges: bool,
    writing: Writing,
}

const fn named(names: &'static [&'static str], cuts: &'static [Cut]) -> Named {
    Named { names, cuts, ignore_merges: false, writing: Writing::ByteLevel }
}

const fn whole(names: &'static [&'static str], cuts: &'static [Cut]) -> Named {
    Named { names, cuts, ignore_merges: true, writing: Writing::ByteLevel }
}

const fn unencoded(
    names: &'static [&'static str],
    cuts: &'static [Cut],
    writing: Writing,
) -> Named {
    Named { names, cuts, ignore_merges: false, writing }
}

const ALL: &[Named] = &[
    named(
        &["default", ""],
        &[P(r"[\p{P}\$\+<=>\^~\|]+"), P(GPT2), P(r"\p{N}+"), P("[0-9][0-9][0-9]")],
    ),
    named(
        &[
            "gpt-2",
            "phi-2",
            "mpt",
            "olmo",
            "jais",
            "trillion",
            "granite-docling",
            "exaone4",
            "gigachat",
            "a.x-4.0",
            "mellum",
            "modern-bert",
            "jina-es",
            "jina-de",
            "jina-v1-en",
            "jina-v2-es",
            "jina-v2-de",
            "jina-v2-code",
            "roberta-bpe",
        ],
        &[P(GPT2)],
    ),
    named(
        &[
            "smollm",
            "starcoder",
            "refact",
            "command-r",
            "codeshell",
            "exaone",
            "minerva-7b",
            "mellum2",
        ],
        &[P(r"\p{N}"), P(GPT2)],
    ),
    whole(
        &[
            "llama-bpe",
            "llama3",
            "llama-v3",
            "falcon3",
            "falcon-h1",
            "pixtral",
            "midm-2.0",
            "lfm2",
            "jina-v5-nano",
            "glm4",
            "glm5",
        ],
        &[P(LLAMA3)],
    ),
    named(&["dbrx", "smaug-bpe", "chatglm-bpe"], &[P(LLAMA3)]),
    named(
        &[
            "qwen2",
            "deepseek-r1-qwen",
            "kormo",
            "f2llmv2",
            "stablelm2",
            "hunyuan",
            "solar-open",
            "megrez",
            "grok-2",
        ],
        &[P(QWEN2)],
    ),
    named(&["qwen35"], &[P(QWEN35)]),
    named(
        &["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"],
        &[P(r"\p{N}{1,3}"), P(HAN_KANA), P(DEEPSEEK3)],
    ),
    named(
        &["deepseek-coder"],
        &[P("[\r\n]"), P(r"\s?\p{L}+"), P(r"\s?\p{P}+"), P(HAN_HANGUL), P(r"\p{N}")],
    ),
    named(&["falcon"], &[P(r"[\p{P}\$\+<=>\^~\|`]+"), P(GPT2), P("[0-9][0-9][0-9]")]),
    named(&["bloom", "poro-chat", "gpt3-finnish"], &[P(BLOOM)]),
    named(&["viking"], &[P(BLOOM), P(r"\p{N}")]),
    whole(&["tekken"], &[P(TEKKEN)]),
    named(&["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"], &[P(GPT4O)]),
    named(&["seed-coder"], &[P(SEED_CODER)]),
    named(&["bailingmoe", "bailingmoe2", "llada-moe"], &[P(BAILING)]),
    named(
        &["deepseek-llm"],
        &[
            P("[\r\n]"),
            P(DEEPSEEK_LLM_LETTERS),
            P(DEEPSEEK_LLM_SIGNS),
            P(r"\s+$"),
            P(HAN_HANGUL),
            P(r"\p{N}+"),
        ],
    ),
    named(&["spark2_5"], &[P(r"\p{N}{1,3}"), P(HAN_KANA), P(SPARK25), P(r"\p{N}")]),
    whole(&["youtu"], &[P(YOUTU_SCRIPTS), P(YOUTU)]),
    named(&["jais-2"], &[P(JAIS2)]),
    named(
        &["chameleon"],
        &[
            P("<sentinel:[0-9]+>"),
            P("(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z"),
            P("([\t\n]|    |  )"),
            P(r"\p{N}"),
            P(CHAMELEON_SIGNS),
            P(GPT2),
        ],
    ),
    whole(&["granite-embed-multi-97m"], &[P(GPT4O)]),
    named(
        &["tiny_aya", "cohere2moe"],
        &[DigitGroups { runs: DIGITS_TO_A_BORDER, alone: true }, P(GPT4O)],
    ),
    named(&["kimi-k2"], &[P(KIMI_K2)]),
    named(&["superbpe"], &[P(r"\p{N}+"), DigitGroups { runs: r"\d+", alone: false }]),
    named(&["ufakzeka"], &[P(UFAKZEKA)]),
    named(
        &["afmoe"],
        &[DigitGroups { runs: r"\p{N}+", alone: true }, P(AFMOE_SCRIPTS), P(DEEPSEEK3)],
    ),
    named(&["laguna"], &[P(LINES), P(QWEN2)]),
    named(&["exaone-moe"], &[P(EXAONE_MOE)]),
    whole(&["minicpm5"], &[P(r"\p{N}{1,3}"), P(MINICPM5)]),
    unencoded(
        &["gemma4", "granite-embed-multi-311m", "sarvam-moe"],
        &[P(LINES)],
        Writing::MarkedSpaces,
    ),
    unencoded(&["whitespace"], &[P(r"\S+")], Writing::AsTheyAre),
];

pub struct PreTokenizer {
    pub splitter: Splitter,
    pub ignore_merges: bool,
    /// Tokens are written as they are, not byte by byte.
    pub unencoded: bool,
    /// Spaces are written as U+2581.
    pub marks_spaces: bool,
}

/// The pre-tokeniser of a name, or an error with all names.
pub fn by_name(name: &str) -> Result<PreTokenizer> {
    let Some(found) = ALL.iter().find(|n| n.names.contains(&name)) else {
        let known: Vec<&str> =
            ALL.iter().flat_map(|n| n.names.iter().copied()).filter(|n| !n.is_empty()).collect();
        return Err(format!(
            "tokenizer.ggml.pre is {name:?}, which is not among the supported: {}",
            known.join(", ")
        )
        .into());
    };
    let steps = found.cuts.iter().map(|cut| Step::new(*cut)).collect::<Result<Vec<Step>>>()?;
    let byte_level = ByteLevel::new(false, false, false);
    Ok(PreTokenizer {
        splitter: Box::new(Cutter {
            steps,
            byte_level: (found.writing == Writing::ByteLevel).then_some(byte_level),
        }),
        ignore_merges: found.ignore_merges,
        unencoded: found.writing != Writing::ByteLevel,
        marks_spaces: found.writing == Writing::MarkedSpaces,
    })
}

/// A cut with its pattern compiled.
enum Step {
    Pattern(SysRegex),
    DigitGroups { runs: SysRegex, alone: bool },
}

impl Step {
    fn new(cut: Cut) -> Result<Step> {
        Ok(match cut {
            Cut::Pattern(pattern) => Step::Pattern(SysRegex::new(pattern)?),
            Cut::DigitGroups { runs, alone } => {
                Step::DigitGroups { runs: SysRegex::new(runs)?, alone }
            }
        })
    }
}

impl Pattern for &Step {
    fn find_matches(&self, text: &str) -> Result<Vec<(Offsets, bool)>> {
        match self {
            Step::Pattern(pattern) => pattern.find_matches(text),
            Step::DigitGroups { runs, alone } => {
                let mut borders = vec![0];
                for ((start, end), is_run) in runs.find_matches(text)? {
                    if is_run {
                        push_group_borders(&mut borders, &text[start..end], start, *alone);
                    }
                }
                borders.push(text.len());
                borders.dedup();
                Ok(borders.windows(2).map(|pair| ((pair[0], pair[1]), false)).collect())
            }
        }
    }
}

/// The borders of a run's groups of three, and its own where it stands alone.
fn push_group_borders(borders: &mut Vec<usize>, run: &str, start: usize, alone: bool) {
    let digits = run.chars().count();
    if alone {
        borders.push(start);
    }
    for (index, (offset, _)) in run.char_indices().enumerate() {
        if (digits - index) % 3 == 0 {
            borders.push(start + offset);
        }
    }
    if alone {
        borders.push(start + run.len());
    }
}

struct Cutter {
    steps: Vec<Step>,
    byte_level: Option<ByteLevel>,
}

impl PreTokenize for Cutter {
    fn pre_tokenize(&self, text: &mut PreTokenizedString) -> Result<()> {
        for step in &self.steps {
            text.split(|_, piece| piece.split(step, SplitDelimiterBehavior::Isolated))?;
        }
        self.byte_level.as_ref().map_or(Ok(()), |byte_level| byte_level.pre_tokenize(text))
    }
}

#[cfg(test)]
mod tests {
    use tokenizers::{OffsetReferential, OffsetType};

    use super::*;

    #[test]
    fn every_name_compiles_and_is_unique() {
        let mut names: Vec<&str> = ALL.iter().flat_map(|n| n.names.iter().copied()).collect();
        for name in &names {
            by_name(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_list() {
        let error = by_name("nonesuch").err().unwrap().to_string();
        assert!(error.contains("nonesuch") && error.contains("llama-bpe"), "{error}");
    }

    fn cut(name: &str, text: &str) -> Vec<String> {
        let found = ALL.iter().find(|n| n.names.contains(&name)).unwrap();
        let steps = found.cuts.iter().map(|cut| Step::new(*cut).unwrap()).collect();
        let mut pieces = PreTokenizedString::from(text);
        Cutter { steps, byte_level: None }.pre_tokenize(&mut pieces).unwrap();
        let splits = pieces.get_splits(OffsetReferential::Original, OffsetType::Byte);
        splits.into_iter().map(|(piece, _, _)| piece.to_string()).collect()
    }

    #[test]
    fn digits_are_grouped_from_the_right() {
        assert_eq!(cut("afmoe", "1234567"), ["1", "234", "567"]);
        assert_eq!(cut("superbpe", "ab1234 123,45"), ["ab", "1", "234", " ", "123", ",", "45"]);
        assert_eq!(cut("tiny_aya", "12345"), ["12", "345"]);
        // No border of a word: the other pattern cuts from the left.
        assert_eq!(cut("tiny_aya", "12345x"), ["123", "45", "x"]);
    }

    #[test]
    fn long_runs_of_digits_take_linear_time() {
        let digits = "1".repeat(300_000);
        for name in ["afmoe", "superbpe", "tiny_aya"] {
            assert_eq!(cut(name, &digits).len(), 100_000, "{name}");
            assert!(cut(name, &format!("{digits}x")).len() > 100_000, "{name}");
        }
    }

    #[test]
    fn words_between_white_space() {
        assert_eq!(cut("whitespace", "a, b\n\nc"), ["a,", " ", "b", "\n\n", "c"]);
    }

    #[test]
    fn characters_of_han_stand_apart() {
        assert_eq!(cut("kimi-k2", "ab\u{4E00}\u{4E01}cd"), ["ab", "\u{4E00}\u{4E01}", "cd"]);
    }
}
