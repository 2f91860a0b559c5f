//! Constraints by themselves: what they accept and refuse, whatever a model would make of them.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde_json::{json, Value};

use super::{Constraint, Grammars, Kind};
use crate::vocabulary::Vocabulary;

/// Longer tokens than bytes, some of which end in the midst of what grammars are made of.
const WORDS: [&str; 8] = ["true", "\":", "\",", "}}", "ab", "e\"}", "[1", "\\u"];
const END: u32 = 0;
const FIRST_BYTE: u32 = 2;

/// An end, an unknown token, the first so many bytes and words.
fn grammars_of(bytes: u32, words: &[&str]) -> Grammars {
    let mut tokens = vec!["</s>".to_string(), "<unk>".to_string()];
    tokens.extend((0..bytes).map(|byte| format!("<0x{byte:02X}>")));
    tokens.extend(words.iter().map(|word| word.to_string()));
    let types: Vec<i32> = (0..tokens.len() as u32)
        .map(|id| match id {
            0 => 3,
            1 => 2,
            id if id < FIRST_BYTE + bytes => 6,
            _ => 1,
        })
        .collect();
    let scores = vec![0.0; tokens.len()];
    let vocabulary = Vocabulary {
        wordpiece: false,
        unigram: false,
        charsmap: &[],
        sentencepiece: true,
        pre_tokenizer: "",
        add_space_prefix: false,
        tokens: tokens.iter().map(|token| token.as_bytes()).collect(),
        types: Some(&types),
        scores: Some(&scores),
        merges: vec![],
        left_stripped: &[],
        right_stripped: &[],
        prefix: None,
        suffix: None,
    };
    let tokenizer = Arc::new(vocabulary.build().unwrap());
    Grammars::new(tokenizer, tokens.len() as u32, &[END]).unwrap()
}

/// All bytes and WORDS.
fn grammars() -> &'static Grammars {
    static GRAMMARS: OnceLock<Grammars> = OnceLock::new();
    GRAMMARS.get_or_init(|| grammars_of(256, &WORDS))
}

fn compile(kind: Kind, source: &str) -> Result<Constraint, String> {
    grammars().compile(kind, source)
}

/// The mask leaves out what is not spelt as the tokeniser spells it, but allows nothing else.
fn takes(constraint: &mut Constraint, text: &[u8]) -> bool {
    text.iter().all(|byte| {
        let token = FIRST_BYTE + u32::from(*byte);
        let allowed = constraint.allowed().unwrap().is_allowed(token);
        let accepted = constraint.accept(token).unwrap();
        assert!(accepted || !allowed, "what the mask allows is accepted");
        accepted
    })
}

/// Whether an answer may be this text and no more.
fn accepts(constraint: &Constraint, text: &str) -> bool {
    let mut constraint = constraint.fork();
    takes(&mut constraint, text.as_bytes())
        && (constraint.is_over() || constraint.accept(END).unwrap())
}

fn check(kind: Kind, source: &str, accepted: &[&str], refused: &[&str]) {
    let constraint = compile(kind, source).unwrap_or_else(|error| panic!("{source}: {error}"));
    for text in accepted {
        assert!(accepts(&constraint, text), "{source} accepts {text:?}");
    }
    for text in refused {
        assert!(!accepts(&constraint, text), "{source} refuses {text:?}");
    }
}

#[test]
fn the_public_suite_of_json_schema_finds_no_invalid_instance_accepted() {
    let suite: Value =
        serde_json::from_str(include_str!("../../../../tests/golden/json_schema_suite.json"))
            .unwrap();
    let (mut compiled, mut valid, mut missed) = (0, 0, vec![]);
    for group in suite["groups"].as_array().unwrap() {
        let name = group[0].as_str().unwrap();
        // A schema that cannot be enforced whole is refused, and with it all its instances.
        let Ok(constraint) = compile(Kind::JsonSchema, &group[1].to_string()) else { continue };
        compiled += 1;
        for test in group[2].as_array().unwrap() {
            let (text, is_valid) = (test[0].to_string(), test[1] == json!(true));
            let accepted = accepts(&constraint, &text);
            assert!(is_valid || !accepted, "{name}: {text} is invalid");
            valid += usize::from(is_valid);
            if is_valid && !accepted {
                missed.push(format!("{name}: {text}"));
            }
        }
    }
    assert!(compiled >= 321, "{compiled} schemas can be enforced");
    // An answer has its keys in the schema's order and its numbers in their plainest form, and a
    // format is meant, though the suite lets it say nothing. The last is a reference beside others.
    let is_stricter = |name: &&String| {
        [
            "allOf: allOf",
            "const with",
            "enum with",
            "format: ",
            "type: integer",
            "float and integers",
        ]
        .iter()
        .chain(&["ref overrides"])
        .any(|reason| name.contains(reason))
    };
    assert_eq!(missed.iter().filter(|name| !is_stricter(name)).collect::<Vec<_>>(), [""; 0]);
    assert!(missed.len() <= 35 && valid >= 676, "{} of {valid} missed", missed.len());
}

#[test]
fn json_is_spaced_as_people_write_it_and_no_further() {
    let schema = r#"{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"],
                     "additionalProperties": false}"#;
    check(
        Kind::JsonSchema,
        schema,
        &[r#"{"a":1}"#, r#"{"a": 1}"#, "{\n  \"a\": 1\n}"],
        &[
            r#" {"a":1}"#,
            r#"{"a":1} "#,
            r#"{"a":  1}"#,
            "{\n\n\n\"a\":1}",
            r#"{"a":1,"a":1}"#,
            "{}",
        ],
    );
    check(Kind::JsonObject, "", &["{}", r#"{"b": [1, {"c": null}]}"#], &["[]", "1", "{", "{}{}"]);
}

#[test]
fn a_regular_expression_is_of_the_whole_answer() {
    check(Kind::Regex, "a(b|c)+/[0-9]{2}", &["ab/00", "acbc/12"], &["ab/0", "xab/00", "ab/000"]);
}

#[test]
fn choices_are_texts_whatever_they_say() {
    let choices = r#"["yes", "no \"way\"", "a|b", "(", "ye", "\n"]"#;
    check(
        Kind::Choice,
        choices,
        &["yes", "ye", "no \"way\"", "a|b", "(", "\n"],
        &["y", "a", "b", "yesno", ""],
    );
}

/// Some vocabularies lack bytes that no text of their training had: here those above 0xEF but for one
/// whole character.
#[test]
fn what_the_model_has_no_tokens_for_is_refused_and_never_allowed() {
    let grammars = grammars_of(0xf0, &["\u{1f98a}"]);
    let none = "\u{f1bbf}";
    for choices in [json!([none]), json!([format!("9{none}")]), json!(["ab", format!("a{none}b")])]
    {
        let refused = grammars.compile(Kind::Choice, &choices.to_string()).err().unwrap();
        assert!(refused.contains("this model has no tokens for"), "{refused}");
    }
    let fox = grammars.compile(Kind::Choice, &json!(["a\u{1f98a}"]).to_string());
    assert!(takes(&mut fox.unwrap(), b"a"));
    // Where a grammar leads there all the same, nothing is allowed in place of what cannot come.
    let expression = format!("9({none}|{none}z)");
    let mut constraint = grammars.compile(Kind::Regex, &expression).unwrap();
    assert!(takes(&mut constraint, b"9"));
    assert!(constraint.allowed().unwrap().is_zero());
    // Also of an answer in place of calls.
    let source = json!({"lark": "start: \"f\" | @answer", "tools": {}, "parts": {},
                        "answer": {"kind": 3, "text": json!(["ab", none]).to_string()}});
    let refused = grammars.compile(Kind::Calls, &source.to_string()).err().unwrap();
    assert!(refused.contains("this model has no tokens for"), "{refused}");
    assert!(grammars.compile(Kind::Regex, none).is_err());
}

#[test]
fn gbnf_means_what_llama_cpp_takes_it_to_mean() {
    let arithmetic = r#"
        # sums of numbers and names
        root  ::= sum "\n"
        sum   ::= term ([-+*/] term)*   # one after the other
        term  ::= number | my-name | "(" ( sum
                  ) ")"
        number ::= [0-9]{1,3} | "0x" [0-9a-fA-F]+
        my-name ::= [^\x00-\x40\[\]]+ "?"?
    "#;
    check(
        Kind::Grammar,
        arithmetic,
        &["1\n", "123+(0xAf-b?)*ab\n", "Z?\n", "\u{e9}\n"],
        &["1", "1234\n", "(1\n", "1+\n", "a[b\n", "0x\n", ""],
    );
    // Symbols are characters: no longest match hides what another branch has.
    check(
        Kind::Grammar,
        r#"root ::= [a-z]+ "ab" | "abc" . "#,
        &["aab", "xab", "abc!", "ababab"],
        &["abc"],
    );
    check(
        Kind::Grammar,
        r#"root ::= ("a" | "") "b"{2,} [-x]?"#,
        &["bb", "abbb-", "bbx"],
        &["b", "a"],
    );
}

#[test]
fn a_grammar_with_a_mistake_is_told_with_its_line() {
    for (grammar, words) in [
        ("root ::= a\n", "the rule 'a' is used, but not defined"),
        ("rot ::= \"a\"", "no rule is named 'root'"),
        ("root ::= \"a\"\nroot ::= \"b\"", "line 2: the rule 'root' is defined twice"),
        ("root ::= \"a", "line 1: the end of a string is missing"),
        ("root ::= (\"a\"", "line 1: a ')' is missing"),
        ("root ::= [a", "the ']' of a set of characters is missing"),
        ("root ::= \"\\q\"", "an escape is"),
        ("root ::= \"a\" )", "what is no part of a rule"),
        ("root = \"a\"\nx ::= \"b\"", "'::=' is missing after 'root'"),
        ("root ::= \"a\"{x}", "a repetition is written"),
    ] {
        let error = compile(Kind::Grammar, grammar).err().unwrap_or_else(|| panic!("{grammar}"));
        assert!(error.contains(words), "{grammar}: {error}");
    }
    for (kind, source, words) in [
        (Kind::Regex, "(a", "unclosed group"),
        (Kind::JsonSchema, r#"{"not": {}}"#, "\"not\""),
        (Kind::JsonSchema, r#"{"x-guidance": {"lenient": true}}"#, "x-guidance"),
        (Kind::JsonSchema, "[]", "a schema is an object"),
        (Kind::JsonSchema, "false", "no text fulfils it"),
        (Kind::JsonSchema, r##"{"$ref": "#"}"##, "no text fulfils it"),
        (Kind::JsonSchema, r#"{"oneOf": [{"minimum": 1}, {"maximum": 5}]}"#, "'oneOf'"),
        (Kind::Choice, "[]", "nothing to choose from"),
    ] {
        let error = compile(kind, source).err().unwrap_or_else(|| panic!("{source}"));
        assert!(error.contains(words), "{source}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn strings_of_bounded_length_may_be_as_long_as_articles() {
    let article = format!("\"{}\"", "A sentence of it. ".repeat(500));
    for bounds in [json!({"maxLength": 20_000}), json!({"minLength": 9_000, "maxLength": 9_000})] {
        let mut schema = bounds;
        schema["type"] = json!("string");
        let constraint = compile(Kind::JsonSchema, &schema.to_string()).unwrap();
        assert!(accepts(&constraint, &article), "{schema}");
    }
}

/// Compiles it and follows it for a while.
fn work(kind: Kind, source: &str) {
    let Ok(mut constraint) = compile(kind, source) else { return };
    for _ in 0..200 {
        let Ok(allowed) = constraint.allowed() else { return };
        let Some(token) = allowed.first_bit_set().map(|token| token as u32) else { return };
        if constraint.is_over() || !constraint.accept(token).unwrap_or(false) {
            return;
        }
    }
}

#[test]
fn hostile_grammars_take_a_bounded_time() {
    let deep = |open: &str, inner: &str, close: &str, levels: usize| {
        format!("{}{inner}{}", open.repeat(levels), close.repeat(levels))
    };
    let names: Vec<String> = (0..20_000).map(|i| format!("\"name{i}\"")).collect();
    let sources = [
        (Kind::Regex, "(a+)+(b+)+(a|b|ab)*c".to_string()),
        (Kind::Regex, "(.*a){200}".to_string()),
        (Kind::Regex, "((a{1,1000}){1,1000}){1,1000}".to_string()),
        (Kind::Regex, deep("(", "a", ")*", 90)),
        (Kind::Regex, deep("(", "a", ")", 100_000)),
        (Kind::Grammar, format!("root ::= {}", deep("(", "\"a\"", ")*", 90))),
        (Kind::Grammar, format!("root ::= {}", deep("(", "\"a\"", ")", 100_000))),
        (Kind::Grammar, "root ::= root root | \"a\" | \"\"".to_string()),
        (Kind::Grammar, "root ::= \"a\"{1,1000000}".to_string()),
        (Kind::Grammar, format!("root ::= {}", vec!["\"abc\"?"; 30_000].join(" "))),
        (Kind::JsonSchema, format!("{{\"enum\": [{}]}}", names.join(","))),
        (Kind::JsonSchema, r#"{"type": "array", "minItems": 1000000000}"#.to_string()),
        (Kind::JsonSchema, r#"{"type": "string", "minLength": 1000000000}"#.to_string()),
        (Kind::JsonSchema, r#"{"type": "string", "pattern": "^(.*a){500}$"}"#.to_string()),
        (Kind::JsonSchema, deep("{\"items\":", "{}", "}", 120)),
        (
            Kind::JsonSchema,
            r##"{"$defs": {"a": {"allOf": [{"$ref": "#/$defs/b"}, {"$ref": "#/$defs/b"}]},
                "b": {"allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}},
                "$ref": "#/$defs/a"}"##
                .to_string(),
        ),
        (
            Kind::JsonSchema,
            format!(
                r#"{{"properties": {{{}}}}}"#,
                names.iter().map(|n| format!("{n}: {{}}")).collect::<Vec<_>>().join(",")
            ),
        ),
    ];
    grammars();
    for (kind, source) in sources {
        let began = Instant::now();
        work(kind, &source);
        let took = began.elapsed();
        assert!(took < Duration::from_secs(10), "{:.80} took {took:?}", source);
    }
}

#[test]
fn what_was_accepted_is_taken_back_and_forks_go_their_own_ways() {
    let mut constraint = compile(Kind::Choice, r#"["abc", "abd"]"#).unwrap();
    assert!(takes(&mut constraint, b"ab"));
    let mut other = constraint.fork();
    let mut elsewhere = constraint.for_another_request();
    assert!(takes(&mut constraint, b"c") && constraint.is_over());
    assert!(takes(&mut other, b"d") && other.is_over());
    assert!(takes(&mut elsewhere, b"d"));
    constraint.roll_back(2).unwrap();
    assert!(!constraint.is_over());
    assert!(!takes(&mut constraint, b"x"), "refused");
    assert!(takes(&mut constraint, b"bd"), "a refusal changes nothing");
}

/// A grammar of one call of `f`, whose arguments are of `parameters`.
fn calls(parameters: Value, strict: bool, at: &str) -> Result<Constraint, String> {
    let source = json!({
        "lark": "start: \"f\" @a",
        "tools": {"f": {"parameters": parameters, "strict": strict}},
        "parts": {"a": {"tool": "f", "at": at}},
    });
    compile(Kind::Calls, &source.to_string())
}

#[test]
fn arguments_of_a_call_have_the_members_that_are_listed_and_no_others() {
    let parameters = json!({"properties": {"a": {"$ref": "#/$defs/n"}, "o": {"properties": {}}},
                            "$defs": {"n": {"type": "integer"}}});
    let fits = |text: &str| {
        let mut constraint = calls(parameters.clone(), true, "").unwrap();
        takes(&mut constraint, text.as_bytes())
    };
    assert!(fits(r#"f{"a": 1, "o": {}}"#));
    assert!(fits("f{}"));
    assert!(!fits(r#"f{"a": "x"#)); // of the definition
    assert!(!fits(r#"f{"b"#));
    assert!(!fits(r#"f{"o": {"c"#));
    assert!(!fits("f[")); // arguments are an object, though the schema does not say so
    let mut one = calls(parameters.clone(), true, "/properties/a").unwrap();
    assert!(takes(&mut one, b"f12"));
}

#[test]
fn what_cannot_be_enforced_is_an_error_of_a_strict_tool_and_loosened_for_others() {
    let parameters = json!({"type": "object", "properties": {"a": {"not": {"const": 1}}}});
    let error = calls(parameters.clone(), true, "").err().unwrap();
    assert!(error.contains("'f'") && error.contains("not"), "{error}");
    let mut loose = calls(parameters, false, "").unwrap();
    assert!(takes(&mut loose, br#"f{"a": 1}"#));
    // Of a schema that nothing is of: any object.
    let broken = json!({"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}});
    let mut any = calls(broken, false, "").unwrap();
    assert!(takes(&mut any, br#"f{"b": [1]}"#));
}
