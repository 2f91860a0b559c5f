/* textkit: tokenisers and chat templates behind a C ABI, over the Rust crates `tokenizers` and
 * `minijinja`. Every function may be called on any thread; objects are immutable once made. No
 * function lets a Rust panic out: it becomes the error text. Text is UTF-8, not NUL-terminated. */
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

void textkit_text_free(textkit_text text);
void textkit_ids_free(textkit_ids ids);

/* ---- tokenisers ---- */

typedef struct textkit_tokenizer textkit_tokenizer;

/* A vocabulary as GGUF files hold it. */
typedef struct {
  bool sentencepiece;         /* else byte-level BPE */
  textkit_view pre_tokenizer; /* name, BPE only */
  bool add_space_prefix;      /* SentencePiece only */
  const textkit_view* tokens;
  const int32_t* types; /* one for each token; NULL: all normal */
  const float* scores;  /* one for each token; SentencePiece only */
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

/* False and an error text on failure. With `guard` (a code point that textkit_guard_specials chose,
 * 0: none), that character is dropped from the text once special tokens were recognised. */
bool textkit_encode(const textkit_tokenizer* tokenizer, textkit_view text, bool add_special,
                    bool parse_special, uint32_t guard, textkit_ids* ids, textkit_text* error);

/* Breaks every special token's text inside the strings of a JSON document (roles excepted) with a
 * guard character that occurs nowhere in it. `guard` is 0, and `json_out` empty, when the strings
 * hold no such text. */
bool textkit_guard_specials(const textkit_tokenizer* tokenizer, textkit_view json,
                            textkit_text* json_out, uint32_t* guard, textkit_text* error);

/* ---- chat templates ---- */

typedef struct textkit_template textkit_template;

/* Formats the present local time into `out`, returns the bytes written, 0 when it does not fit.
 * `format` is NUL-terminated. */
typedef size_t (*textkit_clock)(const char* format, char* out, size_t capacity);

textkit_template* textkit_template_new(textkit_view source, textkit_view bos_token,
                                       textkit_view eos_token, textkit_clock clock,
                                       textkit_text* error);
void textkit_template_free(textkit_template* chat_template);
/* `messages` is a JSON array. On failure the error text is the template's own words where it called
 * raise_exception. */
bool textkit_template_render(const textkit_template* chat_template, textkit_view messages,
                             textkit_text* text, textkit_text* error);

#ifdef __cplusplus
}
#endif
#endif
