//! textkit: what mlxd needs of the Rust ecosystem, behind the C ABI of include/textkit.h.
//!
//! `pipeline` is the tokeniser that everything becomes; `hugging_face` makes one from a checked
//! tokenizer.json, `vocabulary` from a GGUF file's arrays (with `sentencepiece` and `unigram` as its
//! models and `pre_tokenizers` as its names). `template` renders chat templates, by the interpreter `jinja`.
//! `constraint` holds answers to grammars. `line_editor` reads what a person types. `abi` is the only module with unsafe code.

mod abi;
mod added_tokens;
mod bytes;
mod call_ids;
mod constraint;
mod conversation;
mod deep_stack;
mod hugging_face;
mod jinja;
mod json;
mod line_editor;
mod pipeline;
mod pre_tokenizers;
mod sentencepiece;
pub mod template;
mod tools_in_words;
mod unigram;
mod vocabulary;
