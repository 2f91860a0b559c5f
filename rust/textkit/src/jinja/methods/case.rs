//! Methods of str about the case and the kind of characters.

use super::super::print::is_printable;
use super::super::text::{is_space, Text};
use super::super::value::Value;

/// Each character's replacement, with its origin.
fn map(text: &Text, mut each: impl FnMut(char, &mut dyn FnMut(char))) -> Value {
    let mut out = Text::new();
    let mut buffer = String::new();
    for (run, origin) in text.runs() {
        buffer.clear();
        for c in run.chars() {
            each(c, &mut |mapped| buffer.push(mapped));
        }
        out.push(&buffer, origin);
    }
    Value::text(out)
}

pub fn upper(text: &Text) -> Value {
    map(text, |c, put| c.to_uppercase().for_each(put))
}

/// std knows the final sigma, which the whole text decides; it is as long as the other one.
fn lower_into(text: &Text, out: &mut Text) {
    let lowered = text.as_str().to_lowercase();
    let mut at = 0;
    for (run, origin) in text.runs() {
        let size: usize = run.chars().flat_map(char::to_lowercase).map(char::len_utf8).sum();
        out.push(&lowered[at..at + size], origin);
        at += size;
    }
}

pub fn lower(text: &Text) -> Value {
    let mut out = Text::new();
    lower_into(text, &mut out);
    Value::text(out)
}

pub fn casefold(text: &Text) -> Value {
    map(text, |c, put| match c {
        'ß' => "ss".chars().for_each(put),
        'ς' => put('σ'),
        c => c.to_lowercase().for_each(put),
    })
}

/// The first character of a word in upper case: "Ss" for "ß"; some letters are two in one.
fn put_title_char(c: char, put: &mut dyn FnMut(char)) {
    match c {
        'Ǆ'..='ǆ' => return put('ǅ'),
        'Ǉ'..='ǉ' => return put('ǈ'),
        'Ǌ'..='ǌ' => return put('ǋ'),
        'Ǳ'..='ǳ' => return put('ǲ'),
        _ => {}
    }
    let mut upper = c.to_uppercase();
    if let Some(first) = upper.next() {
        put(first);
    }
    upper.flat_map(char::to_lowercase).for_each(put);
}

pub fn capitalize(text: &Text) -> Value {
    let first = text.as_str().chars().next().map_or(0, char::len_utf8);
    let mut out = Text::new();
    let head = text.slice(0..first);
    for (c, origin) in head.chars() {
        put_title_char(c, &mut |mapped| out.push_char(mapped, origin));
    }
    lower_into(&text.slice(first..text.len()), &mut out);
    Value::text(out)
}

fn is_cased(c: char) -> bool {
    c.is_lowercase() || c.is_uppercase()
}

/// str.title: a word is a run of letters.
pub fn title(text: &Text) -> Value {
    let mut in_word = false;
    map(text, |c, put| {
        if in_word {
            c.to_lowercase().for_each(put);
        } else {
            put_title_char(c, put);
        }
        in_word = is_cased(c);
    })
}

/// The filter `title`: words are what spaces, hyphens and opening brackets divide.
pub fn title_words(text: &Text) -> Value {
    let mut in_word = false;
    map(text, |c, put| {
        if is_space(c) || matches!(c, '-' | '(' | '{' | '[' | '<') {
            in_word = false;
            put(c);
        } else if in_word {
            c.to_lowercase().for_each(put);
        } else {
            c.to_uppercase().for_each(put);
            in_word = true;
        }
    })
}

pub fn swapcase(text: &Text) -> Value {
    map(text, |c, put| {
        if c.is_uppercase() {
            c.to_lowercase().for_each(put);
        } else if c.is_lowercase() {
            c.to_uppercase().for_each(put);
        } else {
            put(c);
        }
    })
}

pub fn classify(source: &str, name: &str) -> bool {
    let all = |is: fn(char) -> bool| !source.is_empty() && source.chars().all(is);
    match name {
        "isascii" => source.is_ascii(),
        "isspace" => all(is_space),
        "isalpha" => all(char::is_alphabetic),
        "isalnum" => all(char::is_alphanumeric),
        "isdecimal" | "isdigit" => all(|c| c.is_numeric() && c.to_digit(10).is_some()),
        "isnumeric" => all(char::is_numeric),
        "isprintable" => source.chars().all(is_printable),
        "islower" => source.chars().any(is_cased) && !source.chars().any(char::is_uppercase),
        "isupper" => source.chars().any(is_cased) && !source.chars().any(char::is_lowercase),
        "isidentifier" => {
            !source.starts_with(|c: char| c.is_numeric())
                && all(|c| c == '_' || c.is_alphanumeric())
        }
        // istitle
        _ => {
            let (mut previous_cased, mut any) = (false, false);
            for c in source.chars() {
                let wrong = match (c.is_uppercase(), c.is_lowercase()) {
                    (true, _) => previous_cased,
                    (_, true) => !previous_cased,
                    _ => false,
                };
                if wrong {
                    return false;
                }
                previous_cased = is_cased(c);
                any |= previous_cased;
            }
            any
        }
    }
}
