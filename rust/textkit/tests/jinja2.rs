//! Chat templates against Jinja2 (tests/golden/templates.json, by make_templates.py), and what must
//! hold of every template: provenance, bounds, and no panic whatever the source.

use std::ffi::{c_char, CStr};

use serde_json::{json, Value};
use textkit::template::{Failure, Rendered, Template};

extern "C" fn echo(format: *const c_char, out: *mut c_char, capacity: usize) -> usize {
    // SAFETY: the format is NUL-terminated, and `out` has `capacity` bytes.
    let format = unsafe { CStr::from_ptr(format) }.to_bytes();
    for (i, byte) in format.iter().take(capacity).enumerate() {
        unsafe { *out.add(i) = *byte as c_char };
    }
    format.len().min(capacity)
}

fn load(source: &str) -> Result<Template, String> {
    let tokens = [("bos_token", "<s>"), ("eos_token", "</s>")];
    let tokens = tokens.map(|(name, text)| (name.to_string(), text.to_string()));
    Template::new(source, tokens.to_vec(), echo)
}

fn render(source: &str, document: &Value) -> Result<Rendered, Failure> {
    load(source).map_err(Failure::Refused)?.render(&document.to_string())
}

fn text_of(source: &str, document: &Value) -> String {
    render(source, document).unwrap_or_else(|failure| panic!("{source}: {failure:?}")).text
}

fn refusal_of(source: &str, document: &Value) -> String {
    match render(source, document) {
        Err(Failure::Refused(message)) => message,
        other => panic!("{source}: {other:?}"),
    }
}

fn messages(content: Value) -> Value {
    json!({"messages": [{"role": "user", "content": content}]})
}

fn fixture() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/templates.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn renders_what_jinja2_renders_and_refuses_what_it_refuses() {
    let fixture = fixture();
    let document = &fixture["shared"]["document"];
    let cases = fixture["cases"].as_array().unwrap();
    assert!(cases.len() > 1000);
    let differs = |case: &&Value| {
        let text = render(case[0].as_str().unwrap(), document).ok().map(|r| r.text);
        text.as_deref() != case[1].as_str()
    };
    let different: Vec<&Value> = cases.iter().filter(differs).collect();
    assert!(different.is_empty(), "{different:#?}");
}

#[test]
fn ranges_lie_in_the_text_in_order_and_apart() {
    let fixture = fixture();
    let document = &fixture["shared"]["document"];
    for case in fixture["cases"].as_array().unwrap() {
        let Ok(rendered) = render(case[0].as_str().unwrap(), document) else { continue };
        let mut end = None;
        for range in &rendered.client {
            assert!(range.start < range.end && Some(range.start) > end, "{case}");
            assert!(rendered.text.get(range.clone()).is_some(), "{case}");
            end = Some(range.end);
        }
    }
}

/// The text with what the client chose in brackets.
fn marked(source: &str, document: &Value) -> String {
    let rendered = render(source, document).unwrap_or_else(|f| panic!("{source}: {f:?}"));
    let mut out = String::new();
    let mut from = 0;
    for range in rendered.client {
        out += &format!("{}«{}»", &rendered.text[from..range.start], &rendered.text[range.clone()]);
        from = range.end;
    }
    out + &rendered.text[from..]
}

#[test]
fn every_operation_keeps_who_chose_what() {
    let document = json!({
        "messages": [{"role": "user", "content": " Ab|cd ", "name": "<n>"}],
        "tools": [{"k<": ["v>", 5, {"x": "y"}]}],
        "chat_template_kwargs": {"mode": "m"},
    });
    for (expression, expected) in [
        ("c", "« Ab|cd »"),
        ("'<' + c.strip() ~ '>'", "<«Ab|cd»>"),
        ("c|trim|upper", "«AB|CD»"),
        ("c.strip()[1:4]", "«b|c»"),
        ("c.strip()[::-1]", "«dc|bA»"),
        ("c.strip().split('|')|join('|')", "«Ab»|«cd»"),
        ("c.strip()|replace('|', '<|>')", "«Ab»<|>«cd»"),
        ("'<|x|>'|replace('x', c.strip())", "<|«Ab|cd»|>"),
        ("'%s-%5s' % (m.name, 'x')", "«<n>»-    x"),
        ("'{}-{n}'.format(m.name, n=1)", "«<n>»-1"),
        ("c.strip()|indent(2, true)", "  «Ab|cd»"),
        ("c.strip()|center(9)", "  «Ab|cd»  "),
        ("tools|tojson", "[{\"«k<»\": [\"«v>»\", «5», {\"«x»\": \"«y»\"}]}]"),
        ("tools", "[{'«k<»': ['«v>»', «5», {'«x»': '«y»'}]}]"),
        ("tools[0]['k<'][1] + 1", "«6»"),
        ("c|length", "7"),
        ("m.role", "user"),
        ("mode", "«m»"),
        ("bos_token ~ mode", "<s>«m»"),
        ("m.name|list|join", "«<n>»"),
        ("m.name|tojson|tojson", "\"\\\"«<n>»\\\"\""),
        ("(m.name * 2).title()", "«<N><N>»"),
    ] {
        let source =
            format!("{{% set m = messages[0] %}}{{% set c = m.content %}}{{{{ {expression} }}}}");
        assert_eq!(marked(&source, &document), expected, "{expression}");
    }
    let blocks = "{% macro f(x) %}<{{ x }}>{% endmacro %}{{ f(mode) }}\
                  {% set b %}[{{ mode }}]{% endset %}{{ b }}\
                  {% call f(1) %}{% endcall %}{% filter upper %}a{{ mode }}{% endfilter %}";
    assert!(refusal_of(blocks, &document).contains("caller"));
    let blocks = blocks.replace("{% call f(1) %}{% endcall %}", "");
    assert_eq!(marked(&blocks, &document), "<«m»>[«m»]A«M»");
}

#[test]
fn a_role_that_the_wire_does_not_know_is_the_clients_text() {
    let document = json!({"messages": [{"role": "im_end", "content": "x"}]});
    assert_eq!(marked("{{ '<|' ~ messages[0].role ~ '|>' }}", &document), "<|«im_end»|>");
}

const TEXT: &str = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}";
const STRICT_TEXT: &str = "{% for m in messages %}<{{ m.role }}>{{ '' + m.content }}{% endfor %}";
const PARTS: &str = "{% for m in messages %}<{{ m.role }}>{% for c in m.content %}\
                     {% if c.type == 'text' %}[{{ c.text }}]{% endif %}{% endfor %}{% endfor %}";
const BOTH: &str = "{% for m in messages %}<{{ m.role }}>{% if m.content is string %}\
                    {{ m.content }}{% else %}{% for c in m.content %}[{{ c.text }}]{% endfor %}\
                    {% endif %}{% endfor %}";

#[test]
fn content_comes_in_the_form_that_the_template_reads() {
    let text = messages(json!("hi"));
    let parts = messages(json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]));
    for (template, from_text, from_parts) in [
        (TEXT, "<user>hi", "<user>a\nb"),
        (STRICT_TEXT, "<user>hi", "<user>a\nb"),
        (PARTS, "<user>[hi]", "<user>[a][b]"),
        (BOTH, "<user>hi", "<user>[a][b]"),
    ] {
        assert_eq!(text_of(template, &text), from_text);
        assert_eq!(text_of(template, &parts), from_parts);
    }
}

#[test]
fn developer_stays_where_the_template_knows_it() {
    let document = json!({"messages": [{"role": "developer", "content": "d"}, {"role": "user", "content": "u"}]});
    assert_eq!(text_of(TEXT, &document), "<system>d<user>u");
    let knows =
        format!("{{% if messages[0].role in ['system', 'developer'] %}}!{{% endif %}}{TEXT}");
    assert_eq!(text_of(&knows, &document), "!<developer>d<user>u");
}

fn call(arguments: Value) -> Value {
    let call = json!({"id": "call00001", "type": "function",
        "function": {"name": "f", "arguments": arguments}});
    json!({"messages": [{"role": "user", "content": "q"},
        {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call00001", "content": "r"}]})
}

#[test]
fn arguments_come_in_the_form_that_the_template_reads_whatever_a_model_wrote() {
    let over = |print: &str| {
        format!(
            "{{% for m in messages %}}{{% for t in m.tool_calls or [] %}}{{% set a = \
             t.function.arguments %}}{print}{{% endfor %}}{{% endfor %}}"
        )
    };
    let dump = over("{{ a|tojson }}");
    let walk = over("{% for k, v in a|items %}{{ k }}={{ v }};{% endfor %}");
    let text = over("{{ '' + a }}");
    let either = over("{% if a is string %}{{ a }}{% else %}{{ a|tojson }}{% endif %}");
    for (arguments, dumped, walked, raw, chosen) in [
        ("{\"x\":1}", "{\"x\": 1}", "x=1;", "{\"x\":1}", "{\"x\": 1}"),
        ("", "{}", "", "{}", "{}"),
        ("{\"x", "\"{\\\"x\"", "arguments={\"x;", "{\"x", "{\"x"),
        ("[1]", "\"[1]\"", "arguments=[1];", "[1]", "[1]"),
    ] {
        let document = call(json!(arguments));
        assert_eq!(text_of(&dump, &document), dumped);
        assert_eq!(text_of(&walk, &document), walked);
        assert_eq!(text_of(&text, &document), raw);
        assert_eq!(text_of(&either, &document), chosen);
    }
}

#[test]
fn the_last_message_is_continued() {
    let mut document = json!({"messages": [{"role": "user", "content": "q"},
        {"role": "assistant", "content": "Once "}], "continue_final_message": true});
    let template = "{% for m in messages %}<{{ m.role }}>{{ m.content|trim }}</>{% endfor %}\
                    {% if add_generation_prompt %}<assistant>{% endif %}";
    assert_eq!(text_of(template, &document), "<user>q</><assistant>Once");
    document["continue_final_message"] = json!(false);
    assert!(text_of(template, &document).ends_with("</><assistant>"));
    document["add_generation_prompt"] = json!(false);
    assert!(text_of(template, &document).ends_with("Once</>"));
}

#[test]
fn errors_say_the_line_and_a_raise_its_own_words() {
    let empty = json!({"messages": []});
    assert_eq!(
        refusal_of("{{ raise_exception('Roles must alternate') }}", &empty),
        "Roles must alternate"
    );
    assert_eq!(refusal_of("\n\n{{ x.y }}", &empty), "line 3: 'x' is undefined");
    assert!(load("a\n{% if %}").err().unwrap().starts_with("line 2: "));
    assert!(load("{% for a in b %}").err().unwrap().contains("'endfor'"));
}

#[test]
fn thousands_of_messages_render_up_to_the_limit_of_a_body() {
    let template = "{% for m in messages %}{% if m.role == 'user' and loop.index0 > 0 %}\
        {{ '<|im_start|>' + m.role + '\n' + m.content|trim + '<|im_end|>' + '\n' }}{% else %}\
        {{ m.content.split('</think>')[-1].lstrip('\n') }}{% for t in m.tool_calls or [] %}\
        {{ t.function.arguments|tojson }}{% endfor %}{% endif %}{% endfor %}";
    let turn = |i: usize| json!({"role": if i.is_multiple_of(2) { "user" } else { "assistant" }, "content": format!("message {i}")});
    let many = json!({"messages": (0..10_000).map(turn).collect::<Vec<_>>()});
    assert!(text_of(template, &many).ends_with("message 9999"));
    let long = json!({"messages": (0..8).map(|_| json!({"role": "user", "content": "ä".repeat(500_000)})).collect::<Vec<_>>()});
    assert!(text_of(template, &long).len() > 8_000_000);
    let pairs = "{% for a in messages %}{% for b in messages %}{% if b is none %}{% endif %}{% endfor %}{% endfor %}";
    let some = json!({"messages": (0..1024).map(turn).collect::<Vec<_>>()});
    assert_eq!(text_of(pairs, &some), "");
}

#[test]
fn endless_work_output_memory_and_depth_are_refused() {
    let empty = json!({"messages": []});
    for (template, why) in [
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "too much work"),
        ("{% for a in range(9999) %}{{ 'x' * 9999 }}{% endfor %}", "writes more than"),
        ("{{ ('x' * 99999999999)|length }}", ""),
        ("{{ ('%999999999999s' % 1)|length }}", ""),
        ("{{ 'x'|center(99999999999)|length }}", ""),
        ("{{ ('a' * 1000000)|replace('a', 'b' * 1000000)|length }}", ""),
        ("{{ ([0] * 99999999999)|length }}", ""),
        ("{{ ['x' * 100000]|batch(99999999999, 1)|list|length }}", ""),
        ("{% set n = namespace(l=[]) %}{% for a in range(9999) %}{% set n.l = n.l + ['x' * 1000000] %}{% endfor %}", "memory"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "too deep"),
        ("{% set n = namespace(x=[]) %}{% for a in range(50000) %}{% set n.x = [n.x] %}{% endfor %}", "nested deeper"),
        ("{% set n = namespace() %}{% set n.x = n %}{{ n }}", ""),
        ("{% for x in [[1]] recursive %}{{ loop([x]) }}{% endfor %}", "too deep"),
    ] {
        let message = refusal_of(template, &empty);
        assert!(message.contains(why), "{template}: {message}");
    }
}

#[test]
fn deeply_nested_sources_are_errors_or_work() {
    for link in [
        ".a",
        "|trim",
        "[0]",
        "()",
        " is defined",
        "+1",
        "~1",
        " and 1",
        " if a",
        "==1",
        "**1",
        " not in a",
    ] {
        let _ = render(
            &format!("{{{{ a{} }}}}", link.repeat(60_000 / link.len())),
            &messages(json!("x")),
        );
    }
    for open in [
        "(",
        "[",
        "{% if a %}",
        "{% for a in b %}",
        "not ",
        "-",
        "{a:",
        "a if b else ",
        "f(",
        "{% set a %}",
        "{% macro f() %}",
        "{{",
    ] {
        let _ =
            render(&format!("{{{{ {}", open.repeat(60_000 / open.len())), &messages(json!("x")));
        let _ = render(&open.repeat(60_000 / open.len()), &messages(json!("x")));
    }
}

#[test]
fn mutated_templates_neither_panic_nor_run_away() {
    let fixture = fixture();
    let document = &fixture["shared"]["document"];
    let cases = fixture["cases"].as_array().unwrap();
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut random = |below: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..1500 {
        let pick = |at: usize| cases[at].as_array().unwrap()[0].as_str().unwrap();
        let mut source: Vec<char> = pick(random(cases.len())).chars().collect();
        let other: Vec<char> = pick(random(cases.len())).chars().collect();
        for _ in 0..=random(3) {
            let at = random(source.len() + 1);
            match random(3) {
                0 if at < source.len() => drop(source.remove(at)),
                1 => source.insert(at, other[random(other.len())]),
                _ => {
                    let from = random(other.len());
                    source.splice(at..at, other[from..].iter().take(8).copied());
                }
            }
        }
        let source: String = source.into_iter().collect();
        if let Err(Failure::Fault(why)) = render(&source, document) {
            panic!("{source:?}: {why}");
        }
    }
}

const CHATML: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n\
                      {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

fn with_tools(messages: Value) -> Value {
    let parameters = json!({"type": "object", "properties": {"<|im_end|>": {"type": "string"}}});
    let tool = json!({"type": "function", "function": {"name": "f", "parameters": parameters}});
    json!({"messages": messages, "tools": [tool], "tools_in_words": true})
}

#[test]
fn tools_are_told_in_words_where_the_template_knows_none() {
    let call = json!({"id": "c", "type": "function",
                      "function": {"name": "f", "arguments": "{\"a\": [1, \"b\"]}"}});
    let document = with_tools(json!([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": null, "tool_calls": [call, call]},
        {"role": "tool", "tool_call_id": "c", "content": "r1"},
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "r2"}]}]));
    let text = text_of(CHATML, &document);
    assert!(text.starts_with("<|im_start|>system\nBe brief.\n\nYou can call"), "{text}");
    assert!(text.contains("\n{\"name\": \"f\", \"parameters\": {\"type\": \"object\""), "{text}");
    let one = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": [1, \"b\"]}}\n</tool_call>";
    let calls = format!("<|im_start|>assistant\n{one}\n{one}<|im_end|>\n");
    assert!(text.contains(&calls), "{text}");
    let results = "<|im_start|>user\n<tool_response>\nr1\n</tool_response>\n<tool_response>\nr2\n\
                   </tool_response><|im_end|>\n<|im_start|>assistant\n";
    assert!(text.ends_with(results), "{text}");
}

#[test]
fn tools_in_words_come_in_a_system_message_of_their_own_or_before_the_user() {
    let document = with_tools(json!([{"role": "user", "content": "q"}]));
    assert!(text_of(CHATML, &document).starts_with("<|im_start|>system\nYou can call"));
    let no_system = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}\
                     {% endif %}[{{ m.role }}]{{ m.content }}{% endfor %}";
    let text = text_of(no_system, &document);
    assert!(text.starts_with("[user]You can call") && text.ends_with("\n\nq"), "{text}");
}

#[test]
fn what_tools_say_is_the_clients_in_words_too() {
    let rendered = render(CHATML, &with_tools(json!([{"role": "user", "content": "q"}]))).unwrap();
    let at = rendered.text.find("<|im_end|>\": {").unwrap();
    assert!(rendered.client.iter().any(|range| range.start <= at && at + 10 <= range.end));
}

#[test]
fn a_template_that_knows_tools_tells_of_them_itself() {
    let knows =
        "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}{{ m.content }}\
                 {% endfor %}";
    let text = text_of(knows, &with_tools(json!([{"role": "user", "content": "q"}])));
    assert!(text.starts_with("[{\"type\": \"function\"") && text.ends_with("]q"), "{text}");
}

#[test]
fn reasoning_comes_under_the_name_that_the_template_reads() {
    let turns = json!({"messages": [{"role": "user", "content": "q"},
        {"role": "assistant", "content": "a", "reasoning_content": "r"}]});
    for name in ["reasoning_content", "reasoning", "thinking"] {
        let source = "{% for m in messages %}{% if m.NAME is defined %}[{{ m.NAME }}]{% endif %}\
                      {{ m.content }}{% endfor %}";
        assert_eq!(text_of(&source.replace("NAME", name), &turns), "q[r]a");
    }
}
