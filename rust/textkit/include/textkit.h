/* textkit: tokenisers (over the Rust crate `tokenizers`), chat templates (Jinja2, by an interpreter
 * of its own), grammars (`llguidance`) and lines of a terminal (`rustyline`) behind a C ABI. Every
 * function may be called on any thread; objects are immutable once made, where nothing else is said.
 * No function lets a Rust panic out: it becomes the error text. Text is UTF-8, not NUL-terminated. */
#ifndef TEXTKIT_H
#define TEXTKIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of the caller or of a living object. */
typedef struct {
  const char* data;
  size_t size;
} textkit_view;

/* Bytes that textkit allocated; to be given back by textkit_text_free. */
typedef struct {
  char* data;
  size_t size;
  size_t capacity;
} textkit_text;

/* Token ids that textkit allocated; to be given back by textkit_ids_free. */
typedef struct {
  uint32_t* data;
  size_t size;
  size_t capacity;
} textkit_ids;

/* Bytes of a text, from `begin` to before `end`. */
typedef struct {
  size_t begin;
  size_t end;
} textkit_range;

/* Ranges that textkit allocated; to be given back by textkit_ranges_free. */
typedef struct {
  textkit_range* data;
  size_t size;
  size_t capacity;
} textkit_ranges;

/* A place in a text, behind an added token, at which it may be tokenised in two parts. */
typedef struct {
  size_t at;      /* a byte */
  size_t settled; /* another text that is the same up to here, and the client's in the same places,
                     has the border as well */
  size_t tokens;  /* those before it */
} textkit_border;

/* Likewise. */
typedef struct {
  textkit_border* data;
  size_t size;
  size_t capacity;
} textkit_borders;

void textkit_text_free(textkit_text text);
void textkit_ids_free(textkit_ids ids);
void textkit_ranges_free(textkit_ranges ranges);
void textkit_borders_free(textkit_borders borders);

/* ---- tokenisers ---- */

typedef struct textkit_tokenizer textkit_tokenizer;

/* A vocabulary as GGUF files hold it. */
typedef struct {
  bool sentencepiece;         /* this, or */
  bool wordpiece;             /* this, or */
  bool unigram;               /* this, or else byte-level BPE */
  textkit_view pre_tokenizer; /* name, BPE only */
  textkit_view charsmap;      /* what characters become, Unigram only; may be empty */
  bool add_space_prefix;      /* SentencePiece only */
  const textkit_view* tokens;
  const int32_t* types; /* one for each token; NULL: all normal */
  const float* scores;  /* one for each token; SentencePiece and Unigram only */
  size_t token_count;
  const textkit_view* merges; /* "left right", BPE only */
  size_t merge_count;
  const uint32_t* left_stripped; /* ids of added tokens that take the space before them along */
  size_t left_stripped_count;
  const uint32_t* right_stripped; /* and of those that take the space after them */
  size_t right_stripped_count;
} textkit_vocabulary;

/* NULL and an error text when the file cannot be used. `prefix` and `suffix` are ids that go before
 * and after a text, -1: none (those of a tokenizer.json's own post-processor come first).
 * `added_tokens` is empty or a JSON array of tokens that other files than `json` know, in the form
 * of its own "added_tokens", where "id" may be null. */
textkit_tokenizer* textkit_tokenizer_from_json(textkit_view json, textkit_view added_tokens,
                                               int32_t prefix, int32_t suffix, textkit_text* error);
textkit_tokenizer* textkit_tokenizer_from_vocabulary(const textkit_vocabulary* vocabulary,
                                                     int32_t prefix, int32_t suffix,
                                                     textkit_text* error);
void textkit_tokenizer_free(textkit_tokenizer* tokenizer);

/* One more than the highest id. */
size_t textkit_vocab_size(const textkit_tokenizer* tokenizer);
/* The bytes of a token, empty for an unknown id; those of special tokens only with `show_special`.
 */
textkit_view textkit_token_bytes(const textkit_tokenizer* tokenizer, uint32_t id,
                                 bool show_special);
bool textkit_is_special(const textkit_tokenizer* tokenizer, uint32_t id);
/* How the bytes of tokens become a text, beyond putting them one after the other. */
typedef struct {
  bool strips_leading_space;  /* of the whole text */
  bool strips_trailing_space; /* of the whole text */
  bool merges_repeats;        /* a token that is shown again at once counts once */
} textkit_joining_rules;
textkit_joining_rules textkit_joining(const textkit_tokenizer* tokenizer);
/* The longest token in bytes: no text has fewer tokens than its size divided by this. */
size_t textkit_longest_token(const textkit_tokenizer* tokenizer);
/* The id of the token with exactly this text, -1: none. */
int32_t textkit_token_id(const textkit_tokenizer* tokenizer, textkit_view token);

/* False and an error text on failure. `client`: ascending ranges that do not overlap, in which no
 * added token is recognised; one that lies partly in them is not recognised either. */
bool textkit_encode(const textkit_tokenizer* tokenizer, textkit_view text, bool add_special,
                    bool parse_special, const textkit_range* client, size_t client_count,
                    textkit_ids* ids, textkit_text* error);
/* As textkit_encode of a rendered chat (add_special false, parse_special true), but the tokens of
 * what stands behind `from`, which is 0 or a border of the text; and the borders behind it, whose
 * `tokens` count from there. */
bool textkit_encode_chat(const textkit_tokenizer* tokenizer, textkit_view text, size_t from,
                         const textkit_range* client, size_t client_count, textkit_ids* ids,
                         textkit_borders* borders, textkit_text* error);

/* ---- chat templates ---- */

typedef struct textkit_template textkit_template;

/* Formats the present local time into `out`, returns the bytes written, 0 when it does not fit.
 * `format` is NUL-terminated. */
typedef size_t (*textkit_clock)(const char* format, char* out, size_t capacity);

/* A special token, by the name that templates know it by: "bos_token". */
typedef struct {
  textkit_view name;
  textkit_view text;
} textkit_named_text;

typedef enum {
  TEXTKIT_DONE = 0,
  TEXTKIT_REFUSED = 1, /* by the template, or for the template's faults */
  TEXTKIT_FAULT = 2    /* of textkit itself, or for want of memory or threads */
} textkit_outcome;

/* NULL and an error text when the source does not parse. */
textkit_template* textkit_template_new(textkit_view source, const textkit_named_text* tokens,
                                       size_t token_count, textkit_clock clock,
                                       textkit_text* error);
void textkit_template_free(textkit_template* chat_template);
/* `document` is a JSON object: `messages`, and where wanted `tools`, `documents`,
 * `add_generation_prompt` (true), `continue_final_message` (false) and `chat_template_kwargs`, an
 * object of further variables. `client` tells which bytes of `text` the document's author chose:
 * ascending, none empty, no two touch. When refused, the error text is the template's own words
 * where it called raise_exception, else its line and what is wrong there. */
textkit_outcome textkit_template_render(const textkit_template* chat_template,
                                        textkit_view document, textkit_text* text,
                                        textkit_ranges* client, textkit_text* error);

/* ---- grammars ---- */

/* The tokens of a model as grammars need them; any thread. And one answer's place in a grammar: one
 * thread at a time. */
typedef struct textkit_grammars textkit_grammars;
typedef struct textkit_constraint textkit_constraint;

typedef enum {
  TEXTKIT_JSON_SCHEMA = 0,
  TEXTKIT_JSON_OBJECT = 1, /* the source is not read */
  TEXTKIT_REGEX = 2,       /* of the whole answer */
  TEXTKIT_CHOICE = 3,      /* one of the strings of a JSON array */
  TEXTKIT_GRAMMAR = 4,     /* GBNF where "::=" is in it, else Lark */
  TEXTKIT_CALLS = 5        /* tool calls: rust/textkit/src/constraint/calls.rs */
} textkit_grammar_kind;

/* For a model that draws from `rows` tokens, of which those of `ends`, one at least, end its
 * answers. Takes some tenths of a second and some tens of megabytes. */
textkit_grammars* textkit_grammars_new(const textkit_tokenizer* tokenizer, uint32_t rows,
                                       const uint32_t* ends, size_t end_count, textkit_text* error);
void textkit_grammars_free(textkit_grammars* grammars);
/* At the beginning of an answer. NULL and an error text, half a sentence in the client's words, for
 * a source that cannot be used. */
textkit_constraint* textkit_constraint_new(const textkit_grammars* grammars,
                                           textkit_grammar_kind kind, textkit_view source,
                                           textkit_text* error);
void textkit_constraint_free(textkit_constraint* constraint);
/* Another answer that has come as far. Those of the same request share what they learn, and their
 * thread. */
textkit_constraint* textkit_constraint_fork(const textkit_constraint* constraint, bool same_request,
                                            textkit_text* error);
/* A bit for each token that may come next, the lowest of the first word first; `words` are 0. */
bool textkit_constraint_allowed(textkit_constraint* constraint, uint32_t* words, size_t count,
                                textkit_text* error);
/* The tokens that must come next, at most `capacity`. */
bool textkit_constraint_forced(textkit_constraint* constraint, uint32_t* tokens, size_t capacity,
                               size_t* count, textkit_text* error);
/* Refused: it may not come next, and nothing has changed. */
textkit_outcome textkit_constraint_accept(textkit_constraint* constraint, uint32_t token,
                                          textkit_text* error);
/* Goes on by text, and says how many tokens that took, for roll_back. */
textkit_outcome textkit_constraint_accept_text(textkit_constraint* constraint, textkit_view text,
                                               size_t* tokens, textkit_text* error);
bool textkit_constraint_roll_back(textkit_constraint* constraint, size_t tokens,
                                  textkit_text* error);
/* Nothing may follow. */
bool textkit_constraint_is_over(const textkit_constraint* constraint);

/* ---- lines of a terminal ---- */

/* One thread at a time. */
typedef struct textkit_line_editor textkit_line_editor;

typedef enum {
  TEXTKIT_LINE = 0,
  TEXTKIT_INTERRUPTED = 1, /* Ctrl-C; what was typed is dropped */
  TEXTKIT_END = 2,         /* Ctrl-D */
  TEXTKIT_READ_FAULT = 3
} textkit_read;

/* For standard input and output, which are a terminal. `history`: the file that remembers what was
 * typed, made where there is none; "": none. `commands`: what Tab completes at the beginning of a
 * line, one a line; behind one that ends in a space it completes names of files. */
textkit_line_editor* textkit_line_editor_new(textkit_view history, textkit_view commands,
                                             textkit_text* error);
void textkit_line_editor_free(textkit_line_editor* editor);
/* Waits for a line, which may be several where a backslash ends each but the last. The styled prompt
 * is the other with escape sequences that take no room. */
textkit_read textkit_line_editor_read(textkit_line_editor* editor, textkit_view prompt,
                                      textkit_view styled_prompt, textkit_text* line,
                                      textkit_text* error);

#ifdef __cplusplus
}
#endif
#endif
