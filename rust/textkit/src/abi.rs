//! The C functions of include/textkit.h. Arguments are checked as far as C allows: pointers must be
//! valid as the header says. A panic inside becomes an error text.

mod grammars;
mod line_editor;

use std::any::Any;
use std::ops::Range;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Once};

use crate::added_tokens::Border;
use crate::hugging_face;
use crate::pipeline::Pipeline;
use crate::template::{Clock, Failure, Template};
use crate::vocabulary::Vocabulary;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct View {
    data: *const u8,
    size: usize,
}

#[repr(C)]
pub struct Text {
    data: *mut u8,
    size: usize,
    capacity: usize,
}

#[repr(C)]
pub struct Ids {
    data: *mut u32,
    size: usize,
    capacity: usize,
}

/// Of bytes; the end is not part of it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CRange {
    begin: usize,
    end: usize,
}

#[repr(C)]
pub struct Ranges {
    data: *mut CRange,
    size: usize,
    capacity: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CBorder {
    at: usize,
    settled: usize,
    tokens: usize,
}

#[repr(C)]
pub struct Borders {
    data: *mut CBorder,
    size: usize,
    capacity: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct NamedText {
    name: View,
    text: View,
}

#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Outcome {
    Done = 0,
    Refused = 1,
    Fault = 2,
}

#[repr(C)]
pub struct CVocabulary {
    sentencepiece: bool,
    wordpiece: bool,
    unigram: bool,
    pre_tokenizer: View,
    charsmap: View,
    add_space_prefix: bool,
    tokens: *const View,
    types: *const i32,
    scores: *const f32,
    token_count: usize,
    merges: *const View,
    merge_count: usize,
    left_stripped: *const u32,
    left_stripped_count: usize,
    right_stripped: *const u32,
    right_stripped_count: usize,
}

#[repr(C)]
pub struct CJoining {
    strips_leading_space: bool,
    strips_trailing_space: bool,
    merges_repeats: bool,
}

impl View {
    /// SAFETY: the caller keeps the bytes alive and unchanged for 'a.
    unsafe fn bytes<'a>(self) -> &'a [u8] {
        slice(self.data, self.size)
    }

    /// SAFETY: as `bytes`.
    unsafe fn text<'a>(self) -> Result<&'a str, String> {
        std::str::from_utf8(self.bytes())
            .map_err(|e| format!("not valid UTF-8 at byte {}", e.valid_up_to()))
    }
}

/// SAFETY: `data` is null, or points to `size` elements that live and stay unchanged for 'a.
unsafe fn slice<'a, T>(data: *const T, size: usize) -> &'a [T] {
    if data.is_null() || size == 0 {
        &[]
    } else {
        std::slice::from_raw_parts(data, size)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Text {
        let mut bytes = std::mem::ManuallyDrop::new(text.into_bytes());
        Text { data: bytes.as_mut_ptr(), size: bytes.len(), capacity: bytes.capacity() }
    }
}

impl From<Vec<u32>> for Ids {
    fn from(ids: Vec<u32>) -> Ids {
        let mut ids = std::mem::ManuallyDrop::new(ids);
        Ids { data: ids.as_mut_ptr(), size: ids.len(), capacity: ids.capacity() }
    }
}

impl From<Vec<Range<usize>>> for Ranges {
    fn from(ranges: Vec<Range<usize>>) -> Ranges {
        let ranges = ranges.into_iter().map(|r| CRange { begin: r.start, end: r.end });
        let mut ranges = std::mem::ManuallyDrop::new(ranges.collect::<Vec<_>>());
        Ranges { data: ranges.as_mut_ptr(), size: ranges.len(), capacity: ranges.capacity() }
    }
}

impl From<Vec<(Border, usize)>> for Borders {
    fn from(borders: Vec<(Border, usize)>) -> Borders {
        let borders = borders.into_iter().map(|(border, tokens)| CBorder {
            at: border.at,
            settled: border.settled,
            tokens,
        });
        let mut borders = std::mem::ManuallyDrop::new(borders.collect::<Vec<_>>());
        Borders { data: borders.as_mut_ptr(), size: borders.len(), capacity: borders.capacity() }
    }
}

fn panic_text(panic: Box<dyn Any + Send>) -> String {
    let message = panic
        .downcast_ref::<&str>()
        .map(|s| s.to_string())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "unknown cause".to_string());
    format!("it breaks the library that reads it ({message})")
}

/// Runs `work`; what goes wrong, panics included, is written to `error`.
///
/// SAFETY: `error` points to a Text that may be overwritten.
unsafe fn guarded<T>(error: *mut Text, work: impl FnOnce() -> Result<T, String>) -> Option<T> {
    // The default hook prints each panic to stderr; here it is an error text already.
    static QUIET: Once = Once::new();
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    let outcome = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|p| Err(panic_text(p)));
    match outcome {
        Ok(value) => Some(value),
        Err(message) => {
            error.write(message.into());
            None
        }
    }
}

fn optional_id(id: i32) -> Option<u32> {
    u32::try_from(id).ok()
}

/// Constraints need it as long as they live.
fn shared<T>(value: Option<T>) -> *const T {
    value.map_or(std::ptr::null(), |v| Arc::into_raw(Arc::new(v)))
}

fn boxed<T>(value: Option<T>) -> *mut T {
    value.map_or(std::ptr::null_mut(), |v| Box::into_raw(Box::new(v)))
}

#[no_mangle]
pub unsafe extern "C" fn textkit_text_free(text: Text) {
    if !text.data.is_null() {
        drop(Vec::from_raw_parts(text.data, text.size, text.capacity));
    }
}

#[no_mangle]
pub unsafe extern "C" fn textkit_ids_free(ids: Ids) {
    if !ids.data.is_null() {
        drop(Vec::from_raw_parts(ids.data, ids.size, ids.capacity));
    }
}

#[no_mangle]
pub unsafe extern "C" fn textkit_ranges_free(ranges: Ranges) {
    if !ranges.data.is_null() {
        drop(Vec::from_raw_parts(ranges.data, ranges.size, ranges.capacity));
    }
}

#[no_mangle]
pub unsafe extern "C" fn textkit_borders_free(borders: Borders) {
    if !borders.data.is_null() {
        drop(Vec::from_raw_parts(borders.data, borders.size, borders.capacity));
    }
}

#[no_mangle]
pub unsafe extern "C" fn textkit_tokenizer_from_json(
    json: View,
    added_tokens: View,
    prefix: i32,
    suffix: i32,
    error: *mut Text,
) -> *const Pipeline {
    shared(guarded(error, || {
        let (prefix, suffix) = (optional_id(prefix), optional_id(suffix));
        hugging_face::load(json.text()?, added_tokens.text()?, prefix, suffix)
            .map_err(|e| e.to_string())
    }))
}

#[no_mangle]
pub unsafe extern "C" fn textkit_tokenizer_from_vocabulary(
    vocabulary: *const CVocabulary,
    prefix: i32,
    suffix: i32,
    error: *mut Text,
) -> *const Pipeline {
    shared(guarded(error, || {
        let v = &*vocabulary;
        let views = |data: *const View, size| slice(data, size).iter().map(|t| t.bytes()).collect();
        let vocabulary = Vocabulary {
            sentencepiece: v.sentencepiece,
            wordpiece: v.wordpiece,
            unigram: v.unigram,
            charsmap: v.charsmap.bytes(),
            pre_tokenizer: v.pre_tokenizer.text()?,
            add_space_prefix: v.add_space_prefix,
            tokens: views(v.tokens, v.token_count),
            types: (!v.types.is_null()).then(|| slice(v.types, v.token_count)),
            scores: (!v.scores.is_null()).then(|| slice(v.scores, v.token_count)),
            merges: views(v.merges, v.merge_count),
            left_stripped: slice(v.left_stripped, v.left_stripped_count),
            right_stripped: slice(v.right_stripped, v.right_stripped_count),
            prefix: optional_id(prefix),
            suffix: optional_id(suffix),
        };
        vocabulary.build().map_err(|e| e.to_string())
    }))
}

#[no_mangle]
pub unsafe extern "C" fn textkit_tokenizer_free(tokenizer: *const Pipeline) {
    if !tokenizer.is_null() {
        drop(Arc::from_raw(tokenizer));
    }
}

#[no_mangle]
pub unsafe extern "C" fn textkit_vocab_size(tokenizer: *const Pipeline) -> usize {
    (*tokenizer).vocab_size()
}

#[no_mangle]
pub unsafe extern "C" fn textkit_token_bytes(
    tokenizer: *const Pipeline,
    id: u32,
    show_special: bool,
) -> View {
    let bytes = (*tokenizer).token_bytes(id as usize, show_special);
    View { data: bytes.as_ptr(), size: bytes.len() }
}

#[no_mangle]
pub unsafe extern "C" fn textkit_is_special(tokenizer: *const Pipeline, id: u32) -> bool {
    (*tokenizer).is_special(id as usize)
}

#[no_mangle]
pub unsafe extern "C" fn textkit_joining(tokenizer: *const Pipeline) -> CJoining {
    let joining = (*tokenizer).joining();
    CJoining {
        strips_leading_space: joining.strips_leading_space,
        strips_trailing_space: joining.strips_trailing_space,
        merges_repeats: joining.merges_repeats,
    }
}

#[no_mangle]
pub unsafe extern "C" fn textkit_longest_token(tokenizer: *const Pipeline) -> usize {
    (*tokenizer).longest_token()
}

#[no_mangle]
pub unsafe extern "C" fn textkit_token_id(tokenizer: *const Pipeline, token: View) -> i32 {
    let id = token.text().ok().and_then(|token| (*tokenizer).token_id(token));
    id.map_or(-1, |id| id as i32)
}

#[no_mangle]
pub unsafe extern "C" fn textkit_encode(
    tokenizer: *const Pipeline,
    text: View,
    add_special: bool,
    parse_special: bool,
    client: *const CRange,
    client_count: usize,
    ids: *mut Ids,
    error: *mut Text,
) -> bool {
    let encoded = guarded(error, || {
        let client = slice(client, client_count).iter().map(|range| range.begin..range.end);
        (*tokenizer)
            .encode(text.text()?, add_special, parse_special, &client.collect::<Vec<_>>())
            .map_err(|e| e.to_string())
    });
    encoded.map(|tokens| ids.write(tokens.into())).is_some()
}

#[no_mangle]
pub unsafe extern "C" fn textkit_encode_chat(
    tokenizer: *const Pipeline,
    text: View,
    from: usize,
    client: *const CRange,
    client_count: usize,
    ids: *mut Ids,
    borders: *mut Borders,
    error: *mut Text,
) -> bool {
    let encoded = guarded(error, || {
        let client = slice(client, client_count).iter().map(|range| range.begin..range.end);
        (*tokenizer)
            .encode_from(text.text()?, from, true, &client.collect::<Vec<_>>())
            .map_err(|e| e.to_string())
    });
    let Some((tokens, found)) = encoded else { return false };
    ids.write(tokens.into());
    borders.write(found.into());
    true
}

#[no_mangle]
pub unsafe extern "C" fn textkit_template_new(
    source: View,
    tokens: *const NamedText,
    token_count: usize,
    clock: Clock,
    error: *mut Text,
) -> *mut Template {
    boxed(guarded(error, || {
        let mut named = Vec::with_capacity(token_count);
        for token in slice(tokens, token_count) {
            named.push((token.name.text()?.to_string(), token.text.text()?.to_string()));
        }
        Template::new(source.text()?, named, clock)
    }))
}

#[no_mangle]
pub unsafe extern "C" fn textkit_template_free(template: *mut Template) {
    if !template.is_null() {
        drop(Box::from_raw(template));
    }
}

#[no_mangle]
pub unsafe extern "C" fn textkit_template_render(
    template: *const Template,
    document: View,
    text: *mut Text,
    client: *mut Ranges,
    error: *mut Text,
) -> Outcome {
    let rendered = guarded(error, || Ok((*template).render(document.text()?)));
    match rendered {
        None => Outcome::Fault,
        Some(Ok(rendered)) => {
            text.write(rendered.text.into());
            client.write(rendered.client.into());
            Outcome::Done
        }
        Some(Err(Failure::Refused(message))) => {
            error.write(message.into());
            Outcome::Refused
        }
        Some(Err(Failure::Fault(message))) => {
            error.write(message.into());
            Outcome::Fault
        }
    }
}
