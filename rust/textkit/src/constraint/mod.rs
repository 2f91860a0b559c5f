//! What an answer is held to: a grammar, compiled for a model's tokens, and how far an answer has
//! come in it. `llguidance` does the work; a GBNF grammar is translated for it in gbnf.rs.
//!
//! Grammars are untrusted. What they may take is bounded by their size and depth before they are
//! read (`check`), and by `limits` while they are compiled and followed.

mod calls;
mod gbnf;
mod strings;

use std::sync::Arc;

use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{
    ApproximateTokEnv, InferenceCapabilities, SimpleVob, TokEnv, TokRxInfo, TokTrie, TokenId,
    TokenizerEnv,
};
use llguidance::{Matcher, ParserFactory};
use serde_json::{json, Value};

use self::calls::Calls;
use crate::deep_stack::with_deep_stack;
use crate::pipeline::Pipeline;

/// Nobody writes a larger one by hand, and schemas of whole APIs are smaller.
const MAX_SOURCE_BYTES: usize = 1 << 20;
/// Brackets in brackets: readers of regular expressions and grammars recurse.
const MAX_DEPTH: usize = 100;
/// Of one object of a schema: each may or may not come, which is a step of recursion.
const MAX_PROPERTIES: usize = 4096;
/// Between the parts of a JSON text: what people and models write, and no endless run of spaces,
/// which small models like to go on with.
const JSON_SPACE: &str = r" |\n{1,2}[ \t]{0,20}";

fn limits() -> ParserLimits {
    ParserLimits {
        // 1 to 2 KiB each, for as long as a request is answered. Each character of a string whose
        // length is bounded takes four to ten.
        max_lexer_states: 100_000,
        verbose_errors: false,
        ..ParserLimits::default()
    }
}

#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug)]
#[allow(dead_code)] // C makes them
pub enum Kind {
    JsonSchema,
    JsonObject,
    Regex,
    /// One of the strings of a JSON array.
    Choice,
    /// GBNF where it is written with "::=", else Lark.
    Grammar,
    /// Tool calls: calls.rs.
    Calls,
}

impl Kind {
    fn of(number: u64) -> Option<Kind> {
        let kinds = [Kind::JsonSchema, Kind::JsonObject, Kind::Regex, Kind::Choice, Kind::Grammar];
        kinds.get(usize::try_from(number).ok()?).copied()
    }
}

/// The tokens of one model, as grammars need them. Any thread.
pub struct Grammars {
    factory: ParserFactory,
    /// Over bytes in place of the model's tokens: whether a grammar can be followed at all does not
    /// depend on these, and is found out in a fraction of the time.
    of_bytes: ParserFactory,
}

struct Tokens {
    tokenizer: Arc<Pipeline>,
    trie: TokTrie,
}

impl TokenizerEnv for Tokens {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    /// As the model has learnt to read it, so that text which must come is not spelt oddly. A
    /// tokeniser that changes texts (a space before them, say) is no help there.
    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        let spelt = std::str::from_utf8(bytes)
            .ok()
            .and_then(|text| self.tokenizer.encode(text, false, false, &[]).ok())
            .filter(|tokens| self.trie.decode(tokens) == bytes);
        spelt.unwrap_or_else(|| self.trie.greedy_tokenize(bytes))
    }
}

/// Whether the bytes are those of some tokens.
fn has_tokens_for(trie: &TokTrie, bytes: &[u8]) -> bool {
    let mut reached = vec![false; bytes.len() + 1];
    reached[0] = true;
    for begin in 0..bytes.len() {
        if !reached[begin] {
            continue;
        }
        let mut node = trie.root();
        for (at, byte) in bytes.iter().enumerate().skip(begin) {
            let Some(child) = trie.child_at_byte(node, *byte) else { break };
            node = child;
            reached[at + 1] |= node.token_id().is_some();
        }
    }
    reached[bytes.len()]
}

impl Grammars {
    /// For a model that draws from `rows` tokens, of which `ends` end its answers.
    pub fn new(tokenizer: Arc<Pipeline>, rows: u32, ends: &[u32]) -> Result<Grammars, String> {
        let (Some(end), true) = (ends.first(), ends.iter().all(|end| *end < rows)) else {
            return Err("the model has no token that ends an answer".to_string());
        };
        let words: Vec<Vec<u8>> = (0..rows as usize)
            .map(|id| match tokenizer.is_special(id) {
                true => {
                    [&[TokTrie::SPECIAL_TOKEN_MARKER], tokenizer.token_bytes(id, true)].concat()
                }
                false => tokenizer.token_bytes(id, false).to_vec(),
            })
            .collect();
        let trie = TokTrie::from(&TokRxInfo::new(rows, *end), &words).with_eos_tokens(ends);
        let tokens: TokEnv = Arc::new(Tokens { tokenizer, trie });
        let capabilities = InferenceCapabilities { ff_tokens: false, ..Default::default() };
        let slices = SlicedBiasComputer::json_slices();
        let mut factory = ParserFactory::new(&tokens, capabilities, &slices).map_err(sentence)?;
        let bytes = ApproximateTokEnv::single_byte_env();
        let mut of_bytes = ParserFactory::new_simple(&bytes).map_err(sentence)?;
        for each in [&mut factory, &mut of_bytes] {
            *each.limits_mut() = limits();
            each.quiet();
        }
        Ok(Grammars { factory, of_bytes })
    }

    pub fn compile(&self, kind: Kind, source: &str) -> Result<Constraint, String> {
        with_deep_stack(|| self.compile_here(kind, source))?
    }

    fn compile_here(&self, kind: Kind, source: &str) -> Result<Constraint, String> {
        let grammar = match kind {
            Kind::Calls => Calls::read(source, |kind, source| self.grammar_of(kind, source))?
                .grammar(|part| begin(&self.of_bytes, part.clone()).map(drop))?,
            _ => self.grammar_of(kind, source)?,
        };
        begin(&self.factory, grammar)
    }

    fn grammar_of(&self, kind: Kind, source: &str) -> Result<TopLevelGrammar, String> {
        if kind == Kind::Choice {
            check_choices(source, self.factory.tok_env().tok_trie())?;
        }
        grammar_of(kind, source)
    }
}

fn begin(factory: &ParserFactory, grammar: TopLevelGrammar) -> Result<Constraint, String> {
    let parser = factory.create_parser(grammar).map_err(sentence)?;
    let mut constraint = Constraint { matcher: Matcher::new(Ok(parser)) };
    // A grammar that nothing fulfils shows here, and not in the midst of a step.
    if constraint.allowed()?.is_zero() {
        return Err("no text fulfils it".to_string());
    }
    Ok(constraint)
}

fn grammar_of(kind: Kind, source: &str) -> Result<TopLevelGrammar, String> {
    check(kind, source)?;
    Ok(match kind {
        Kind::JsonSchema => TopLevelGrammar::from_json_schema(schema_with(
            serde_json::from_str(source).map_err(sentence)?,
            false,
        )?),
        Kind::JsonObject => TopLevelGrammar::from_json_schema(any_object()),
        Kind::Regex => TopLevelGrammar::from_regex(source),
        Kind::Grammar if source.contains("::=") => {
            TopLevelGrammar::from_lark(gbnf::to_lark(source)?)
        }
        Kind::Grammar => TopLevelGrammar::from_lark(source.to_string()),
        Kind::Choice => choice(source)?,
        Kind::Calls => return Err("calls are no answer's text".to_string()),
    })
}

fn check(kind: Kind, source: &str) -> Result<(), String> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(format!("it is larger than {MAX_SOURCE_BYTES} bytes"));
    }
    if !matches!(kind, Kind::Regex | Kind::Grammar) {
        return Ok(()); // JSON, whose reader has a bound of its own
    }
    let mut depth = 0usize;
    for byte in source.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth > MAX_DEPTH {
            return Err(format!("its brackets are nested deeper than {MAX_DEPTH} levels"));
        }
    }
    Ok(())
}

fn check_properties(schema: &Value) -> Result<(), String> {
    match schema {
        Value::Object(members) if members.len() > MAX_PROPERTIES => {
            Err(format!("an object in it has {} members, over {MAX_PROPERTIES}", members.len()))
        }
        Value::Object(members) => members.values().try_for_each(check_properties),
        Value::Array(items) => items.iter().try_for_each(check_properties),
        _ => Ok(()),
    }
}

/// With our options in it. `lenient`: keywords that cannot be enforced are not.
fn schema_with(mut schema: Value, lenient: bool) -> Result<Value, String> {
    check_properties(&schema)?;
    let options = json!({"whitespace_pattern": JSON_SPACE, "lenient": lenient});
    match &mut schema {
        Value::Bool(true) => schema = json!({"x-guidance": options}),
        Value::Object(members) => {
            // It would loosen what the schema says.
            if members.insert("x-guidance".to_string(), options).is_some() {
                return Err("'x-guidance' is not a keyword of JSON Schema".to_string());
            }
        }
        Value::Bool(false) => return Err("no text fulfils it".to_string()),
        _ => return Err("a schema is an object, true or false".to_string()),
    }
    Ok(schema)
}

fn any_object() -> Value {
    json!({"type": "object", "x-guidance": {"whitespace_pattern": JSON_SPACE}})
}

fn choices_of(source: &str) -> Result<Vec<String>, String> {
    serde_json::from_str(source).map_err(sentence)
}

/// An answer that has come half way into a choice that the model cannot write could not go on.
fn check_choices(source: &str, trie: &TokTrie) -> Result<(), String> {
    let token_of = |byte| trie.child_at_byte(trie.root(), byte).and_then(|node| node.token_id());
    let alone: Vec<bool> = (0..=255).map(|byte| token_of(byte).is_some()).collect();
    for choice in choices_of(source)? {
        let bytes = choice.as_bytes();
        if bytes.iter().all(|byte| alone[usize::from(*byte)]) || has_tokens_for(trie, bytes) {
            continue;
        }
        let shown: String = choice.chars().take(40).collect();
        return Err(format!("this model has no tokens for '{shown}'"));
    }
    Ok(())
}

fn choice(source: &str) -> Result<TopLevelGrammar, String> {
    let choices = choices_of(source)?;
    let literals: Vec<String> =
        choices.iter().map(|choice| Value::from(choice.as_str()).to_string()).collect();
    if literals.is_empty() {
        return Err("there is nothing to choose from".to_string());
    }
    Ok(TopLevelGrammar::from_lark(format!("start: {}", literals.join(" | "))))
}

/// The cause, without the library's own context and in words that a client can act on.
fn sentence(error: impl std::fmt::Display) -> String {
    let text = error.to_string();
    if let Some(keys) = text.strip_prefix("Unimplemented keys: ") {
        return format!(
            "these keywords are not supported: {}",
            keys.lines().next().unwrap_or(keys)
        );
    }
    if text.contains("coerce_one_of") {
        return "'oneOf' is supported where its parts exclude each other; use 'anyOf'".to_string();
    }
    if text.contains("NoExtension") {
        return "no text fulfils it".to_string();
    }
    // Of a regular expression the cause comes after a picture of the place.
    let cause = text.lines().find_map(|line| line.trim().strip_prefix("error: "));
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("unknown cause");
    cause.unwrap_or(first).trim().trim_end_matches('.').to_string()
}

/// One answer's place in a grammar.
pub struct Constraint {
    matcher: Matcher,
}

impl Constraint {
    /// For another sample of the same request.
    pub fn fork(&self) -> Constraint {
        Constraint { matcher: self.matcher.clone() }
    }

    /// For another request, which may be answered on another thread.
    pub fn for_another_request(&self) -> Constraint {
        Constraint { matcher: self.matcher.deep_clone() }
    }

    /// The tokens that may come next; none where the grammar leads to what no token spells.
    pub fn allowed(&mut self) -> Result<SimpleVob, String> {
        let mut allowed = self.matcher.compute_mask_or_eos().map_err(sentence)?;
        // A token that is forced is the first of a spelling, which passes over bytes that no token
        // has: then it is one from behind them, and nothing can come next.
        let mut tokens = allowed.iter();
        let only = match (tokens.next(), tokens.next()) {
            (Some(only), None) if !self.matcher.is_stopped() => only,
            _ => return Ok(allowed),
        };
        if self.matcher.validate_tokens(&[only]).map_err(sentence)? == 0 {
            allowed.set_all(false);
        }
        Ok(allowed)
    }

    /// The tokens that must come next.
    pub fn forced(&mut self) -> Result<Vec<u32>, String> {
        if self.matcher.is_stopped() {
            return Ok(vec![]);
        }
        let tokens = self.matcher.compute_ff_tokens();
        match self.matcher.get_error() {
            Some(error) => Err(sentence(error)),
            None => Ok(tokens),
        }
    }

    /// False when the token may not come next: nothing has changed.
    pub fn accept(&mut self, token: u32) -> Result<bool, String> {
        if self.matcher.is_stopped() && !self.matcher.is_error() {
            return Ok(false);
        }
        self.matcher.try_consume_tokens(&[token]).map(|taken| taken == 1).map_err(sentence)
    }

    /// Goes on by text that was spelt with other tokens. How many it took here, for `roll_back`;
    /// None: it may not come next, and nothing has changed.
    pub fn accept_text(&mut self, text: &[u8]) -> Result<Option<usize>, String> {
        let tokens = self.matcher.tok_env().map_err(sentence)?.tokenize_bytes(text);
        for (taken, token) in tokens.iter().enumerate() {
            if !self.accept(*token)? {
                self.roll_back(taken)?;
                return Ok(None);
            }
        }
        Ok(Some(tokens.len()))
    }

    pub fn roll_back(&mut self, tokens: usize) -> Result<(), String> {
        self.matcher.rollback(tokens).map_err(sentence)
    }

    /// Nothing may follow.
    pub fn is_over(&self) -> bool {
        self.matcher.is_stopped()
    }
}

#[cfg(test)]
mod tests;
