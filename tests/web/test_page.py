"""Chats in the page, as users have them."""

import json
import re

import pytest
from conftest import MODEL, WEB
from playwright.sync_api import expect

LONG = "Write a very long story about the sea."


def exact(page, most_tokens=40):
    page.set("Temperature", "0")
    page.set("Most tokens", str(most_tokens))
    page.button("Done").click()


def ask_without_end(page):
    """LONG, whose likeliest answer turns in circles: it is under way for many seconds on any machine."""
    exact(page, most_tokens=6000)
    page.send(LONG)


def test_an_answer_is_the_models_own(page, server):
    exact(page)
    page.set("System prompt", "You are a poet.")
    page.set("Seed", "7")
    page.button("Done").click()
    page.ask("What is the capital of France?")
    messages = [
        {"role": "system", "content": "You are a poet."},
        {"role": "user", "content": "What is the capital of France?"},
    ]
    answer = server.client().chat.completions.create(
        model=MODEL, messages=messages, temperature=0, max_tokens=40, seed=7
    )
    assert page.stored("assistant")[0]["content"] == answer.choices[0].message.content
    expect(page.messages("assistant")).to_contain_text(re.compile(r"\d+ tokens · [\d.]+ a second"))
    # The second turn knows the first.
    page.ask("Say it again.")
    assert page.stored("assistant")[1]["promptTokens"] > page.stored("assistant")[0]["promptTokens"] + 40


def test_stop_ends_the_request_and_keeps_what_came(page, server):
    cancelled = server.metric("mlxd_requests_total", outcome="cancelled")
    ask_without_end(page)
    expect(page.messages("assistant")).to_contain_text(re.compile(r"\w+ \w+ \w+"))
    page.button("Stop").click()
    expect(page.messages("assistant")).to_contain_text("Stopped.")
    server.wait_for_metric("mlxd_running_sequences", 0)
    assert server.metric("mlxd_requests_total", outcome="cancelled") == cancelled + 1
    assert page.stored("assistant")[0]["status"] == "stopped"
    assert page.stored("assistant")[0]["content"] in page.tab.inner_text("article.assistant .markdown")


def test_stop_counts_from_the_moment_it_can_be_pressed(page, server):
    exact(page, most_tokens=6000)
    page.tab.evaluate(
        """() => new MutationObserver((_, observer) => {
             const stop = [...document.querySelectorAll("button")].find((each) => each.textContent === "Stop");
             if (!stop) return;
             observer.disconnect();
             stop.click();
           }).observe(document.body, { childList: true, subtree: true })"""
    )
    page.send(LONG)
    expect(page.messages("assistant")).to_contain_text("Stopped.")
    server.wait_for_metric("mlxd_running_sequences", 0)


def test_the_keyboard_alone_is_enough(page):
    exact(page, most_tokens=6000)
    page.box.focus()
    page.tab.keyboard.type("A line")
    page.tab.keyboard.press("Shift+Enter")
    page.tab.keyboard.type(LONG)
    page.tab.keyboard.press("Enter")
    expect(page.button("Stop")).to_be_visible()
    page.tab.keyboard.press("Escape")
    expect(page.messages("assistant")).to_contain_text("Stopped.")
    assert page.stored("user")[0]["content"] == f"A line\n{LONG}"


def test_a_reload_in_the_middle_keeps_what_had_come(page, server):
    ask_without_end(page)
    page.wait_for_stored(lambda messages: len(messages[-1]["content"].split()) > 9)
    page.tab.reload()
    expect(page.messages("assistant")).to_contain_text("The page was closed before the answer was complete.")
    assert len(page.stored("assistant")[0]["content"].split()) > 9
    server.wait_for_metric("mlxd_running_sequences", 0)
    page.set("Most tokens", "10")
    page.button("Regenerate").click()
    expect(page.messages("assistant")).to_contain_text("2 of 2")
    page.wait_until_answered()
    page.button("Earlier version").click()
    expect(page.messages("assistant")).to_contain_text("1 of 2")
    expect(page.messages("assistant")).to_contain_text("The page was closed")


def test_a_lost_connection_is_told_and_mended(new_page, start_server):
    server = start_server()
    page = new_page(server.url)
    ask_without_end(page)
    page.wait_for_stored(lambda messages: len(messages[-1]["content"].split()) > 9)
    server.process.kill()
    server.process.wait()
    expect(page.messages("assistant")).to_contain_text("what had arrived is kept")
    expect(page.tab.get_by_text("The page tries again by itself.")).to_be_visible()
    assert len(page.stored("assistant")[0]["content"].split()) > 9
    start_server(port=server.port)
    expect(page.tab.get_by_text("The page tries again by itself.")).to_be_hidden()
    exact(page)
    page.ask("Hello!")
    assert page.stored("assistant")[1]["status"] in ("done", "length")


def test_a_stream_that_broke_is_read_on_where_the_server_keeps_it(new_page, start_server):
    page = new_page(start_server("--resume-seconds", "10").url)
    # The first connection ends after two events; what is asked next says so, and gets the rest.
    event = 'id: {}\ndata: {{"choices":[{{"delta":{{"content":"{}"}}}}]}}\n\n'
    bodies = [event.format(1, "one ") + event.format(2, "two "), event.format(3, "three") + "data: [DONE]\n\n"]
    asked = []

    def answer(route):
        asked.append(route.request.headers.get("last-event-id"))
        route.fulfill(body=bodies[len(asked) - 1], content_type="text/event-stream")

    page.tab.route("**/v1/chat/completions", answer)
    page.ask("Count.")
    assert page.stored("assistant")[0]["content"] == "one two three"
    assert asked == [None, "2"]


def test_a_key_is_asked_for_and_a_wrong_one_told(new_page, start_server):
    server = start_server("--api-key", "sesame")
    page = new_page(server.url)
    dialog = page.tab.get_by_role("dialog", name="This server asks for a key")
    expect(dialog).to_be_visible()
    expect(dialog.get_by_role("alert")).to_have_count(0)
    for key in ("wrong", "sesame"):
        dialog.get_by_label("API key").fill(key)
        dialog.get_by_role("button").click()
        if key == "wrong":
            expect(dialog.get_by_role("alert")).to_have_text("The server does not know this key.")
    expect(dialog).to_be_hidden()
    exact(page)
    page.ask("Hello!")
    page.tab.reload()  # the tab knows it still
    expect(page.messages("assistant")).to_be_visible()
    expect(dialog).to_be_hidden()
    # It was not to be kept: another tab is asked.
    other = new_page(server.url, context=page.tab.context)
    expect(other.tab.get_by_role("dialog")).to_be_visible()
    assert "sesame" not in server.log()


def test_two_tabs_share_chats_and_lose_nothing(new_page, server):
    first = new_page(server.url)
    exact(first)
    first.ask("Hello!")
    path = first.tab.url.removeprefix(server.url)
    second = new_page(server.url, path, context=first.tab.context)
    expect(second.messages("assistant")).to_have_count(1)
    # One sees what the other writes, while it is written.
    ask_without_end(first)
    expect(first.messages("assistant").nth(1)).to_contain_text(re.compile(r"(\w+\W+){5}"))
    expect(second.messages("assistant").nth(1)).to_contain_text(re.compile(r"(\w+\W+){5}"))
    first.button("Stop").click()
    expect(second.messages("assistant").nth(1)).to_contain_text("Stopped.")
    exact(first)
    exact(second)
    # Both go on at the same time: nobody's message is lost.
    second.send("From the second tab.")
    first.send("From the first tab.")
    second.wait_until_answered()
    first.wait_until_answered()
    contents = {message["content"] for message in first.stored("user")}
    assert contents == {"Hello!", LONG, "From the second tab.", "From the first tab."}
    assert not {message["status"] for message in first.stored()} & {"writing", "broken"}
    # Deleted in one, it is gone in the other.
    first.tab.on("dialog", lambda dialog: dialog.accept())
    first.button("Delete Hello!").click()
    expect(second.messages("user")).to_have_count(0)
    assert first.stored() == []


def test_an_edit_is_a_branch_of_its_own(page):
    exact(page)
    page.ask("Name a colour.")
    page.button("Edit").click()
    page.tab.get_by_label("Edit the message").fill("Name a fruit.")
    page.button("Send as a branch").click()
    expect(page.messages("user")).to_contain_text("Name a fruit.")
    expect(page.messages("user")).to_contain_text("2 of 2")
    page.wait_until_answered()
    page.button("Earlier version").click()
    expect(page.messages("user")).to_contain_text("Name a colour.")
    expect(page.messages("assistant")).to_have_count(1)
    page.tab.reload()
    expect(page.messages("user")).to_contain_text("Name a colour.")
    assert [m["parent"] for m in page.stored("user")] == [None, None]


def test_an_answer_is_held_to_a_schema(page):
    exact(page)
    schema = {"type": "object", "properties": {"answer": {"enum": ["yes", "no"]}}, "required": ["answer"]}
    page.set("JSON schema of answers", json.dumps(schema))
    page.button("Done").click()
    page.ask("Is the sky blue? Answer in JSON.")
    assert json.loads(page.stored("assistant")[0]["content"])["answer"] in ("yes", "no")
    page.set("JSON schema of answers", "{")
    page.box.fill("And the sea?")
    page.box.press("Enter")
    expect(page.tab.get_by_role("alert")).to_contain_text("The JSON schema is not JSON")


def test_what_the_server_refuses_is_told_in_its_words(page):
    page.set("Temperature", "3")
    page.button("Done").click()
    page.ask("Hello!")
    expect(page.messages("assistant")).to_contain_text(re.compile("temperature.*2"))


def test_reasoning_is_folded_and_calls_are_shown_and_answered(page):
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city"'}}
    rest = {"index": 0, "function": {"arguments": ':"Rome"}'}}
    page.answer_with(
        {"reasoning_content": "I should look."}, {"tool_calls": [call]}, {"tool_calls": [rest]}, finish="tool_calls"
    )
    page.ask("How is the weather in Rome?")
    expect(page.messages("assistant")).to_contain_text('"city": "Rome"')
    expect(page.tab.get_by_text("I should look.")).to_be_hidden()
    page.tab.get_by_text("Reasoning", exact=True).click()
    expect(page.tab.get_by_text("I should look.")).to_be_visible()
    page.tab.unroute("**/v1/chat/completions")
    page.answer_with({"content": "It is sunny."})
    with page.tab.expect_request("**/v1/chat/completions") as asked:
        page.tab.get_by_role("textbox", name="Result of weather").fill("sunny")
        page.tab.keyboard.press("Enter")
    assert asked.value.post_data_json["messages"][1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    ]
    expect(page.messages("assistant").last).to_contain_text("It is sunny.")


MARKDOWN = r"""A **list**:

1. `one`
2. [two](https://example.org)

| name | value |
|:-----|------:|
| pi   |  3.14 |

```python
def area(r):  # of a circle
    return 3.14 * r ** 2
```

$$\int_0^1 x^2\,dx = \frac{1}{3} \qquad \begin{pmatrix} a & b \\ c & d \end{pmatrix}$$

and \(e^{i\pi} = -1\), not $5 or $6, nor \(\broken{\).
<img src="https://evil.example/a.png" onerror="alert(1)"> ![cat](https://evil.example/b.png)
"""


def test_markdown_has_tables_code_and_formulas_and_loads_nothing(page):
    page.answer_with({"content": MARKDOWN[:70]}, {"content": MARKDOWN[70:]})
    page.ask("Show me.")
    answer = page.messages("assistant")
    expect(answer.locator("math")).to_have_count(2)
    expect(answer.locator("mfrac")).to_have_count(1)
    expect(answer.locator("td").last).to_have_css("text-align", "right")
    expect(answer.locator("pre .c")).to_have_text("# of a circle")
    expect(answer.locator("li a")).to_have_attribute("rel", "noopener noreferrer")
    expect(answer.locator("img")).to_have_count(0)
    expect(answer).to_contain_text('<img src="https://evil.example/a.png"')
    expect(answer).to_contain_text(r"\broken{")


def test_chats_are_exported_imported_and_searched(page, new_page, server, tmp_path):
    page.answer_with({"content": "A walrus, naturally."})
    page.ask("Which animal?")
    with page.tab.expect_download() as download:
        page.button("Export").click()
    download.value.save_as(tmp_path / "chats.json")
    other = new_page(server.url)
    expect(other.tab.get_by_text("No chats yet.")).to_be_visible()
    for expected in (1, 2):  # a second time beside the first
        other.tab.locator("input[type=file]").set_input_files(tmp_path / "chats.json")
        expect(other.tab.get_by_role("link", name="Which animal?")).to_have_count(expected)
    other.tab.get_by_role("link", name="Which animal?").first.click()
    expect(other.messages("assistant")).to_contain_text("A walrus, naturally.")
    search = other.tab.get_by_role("searchbox")
    search.fill("WALRUS animal")
    expect(other.tab.get_by_role("link", name="Which animal?")).to_have_count(2)
    search.fill("sealion")
    expect(other.tab.get_by_text("No chat has these words.")).to_be_visible()
    (tmp_path / "bad.json").write_text("{}")
    other.tab.locator("input[type=file]").set_input_files(tmp_path / "bad.json")
    expect(other.tab.get_by_role("alert")).to_contain_text("bad.json was not imported: it was not exported by this page")


def test_a_first_visit_without_a_model_says_what_to_type(new_page, server, browser):
    context = browser.new_context()
    context.route("**/v1/models", lambda route: route.fulfill(json={"object": "list", "data": []}))
    page = new_page(server.url, context=context)
    expect(page.tab.get_by_role("heading", name="There is no model yet")).to_be_visible()
    expect(page.tab.get_by_text("mlxd serve model.gguf")).to_be_visible()
    context.unroute("**/v1/models")
    expect(page.tab.get_by_role("heading", name="What would you like to know?")).to_be_visible()


def test_it_works_behind_a_prefix(new_page, server, browser):
    context = browser.new_context()
    prefix = f"{server.url}/some/where"

    def forward(route):
        route.fulfill(response=route.fetch(url=route.request.url.replace("/some/where", "")))

    context.route(f"{prefix}/**", forward)
    page = new_page(prefix, context=context)
    exact(page)
    page.ask("Hello!")
    assert page.stored("assistant")[0]["status"] in ("done", "length")


def test_the_server_page_shows_what_it_does(new_page, server):
    page = new_page(server.url, "/#/server")
    server.client().chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Hello!"}], max_tokens=200, extra_body={"ignore_eos": True}
    )
    rate = page.tab.get_by_role("img", name=re.compile(r"Tokens a second.*generated"))
    expect(rate).to_be_visible()
    expect(rate.locator("path.line0")).to_have_attribute("d", re.compile(r"^M.*L"))
    expect(page.tab.get_by_role("img", name=re.compile(r"Memory by part: Weights \d+ MiB"))).to_be_visible()
    completed = page.tab.get_by_role("row", name="completed").get_by_role("cell")
    expect(completed).to_have_text(str(int(server.metric("mlxd_requests_total", outcome="completed"))))
    page.tab.get_by_role("link", name="New chat").click()
    expect(page.box).to_be_visible()


def test_models_are_loaded_and_unloaded_by_hand(new_page, start_server):
    page = new_page(start_server("--preload-models", "none").url, "/#/server")
    models = page.tab.get_by_role("region", name="Models")
    expect(models).to_contain_text("unloaded")
    page.button(f"Load {MODEL}").click()
    expect(page.button(f"Unload {MODEL}")).to_be_visible()
    page.button(f"Unload {MODEL}").click()
    expect(page.button(f"Load {MODEL}")).to_be_visible()
    # Whoever asks has it loaded.
    page.tab.get_by_role("link", name="New chat").click()
    exact(page)
    page.ask("Hello!")
    assert page.stored("assistant")[0]["status"] in ("done", "length")


def test_who_is_no_administrator_sees_models_and_no_buttons(new_page, start_server):
    page = new_page(start_server("--admin-key", "chief").url, "/#/server")
    models = page.tab.get_by_role("region", name="Models")
    expect(models).to_contain_text(MODEL)
    expect(models.get_by_role("button")).to_have_count(0)


AXE = WEB / "node_modules/axe-core/axe.min.js"
needs_axe = pytest.mark.skipif(not AXE.exists(), reason="needs Node and npm ci in web/")


def violations(page):
    page.tab.evaluate(AXE.read_text())  # past the policy, which would not let it in as a script
    found = page.tab.evaluate("axe.run()")["violations"]
    return [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found]


def look(new_page, server, **options):
    page = new_page(server.url, reduced_motion="reduce", **options)
    page.answer_with({"reasoning_content": "Hm."}, {"content": MARKDOWN})
    expect(page.tab.get_by_role("heading", name="What would you like to know?")).to_be_visible()
    assert violations(page) == []
    page.ask("Show me.")
    page.button("Regenerate").click()
    page.wait_until_answered()
    page.set("System prompt", "Be brief.")
    assert violations(page) == []
    return page


@needs_axe
def test_nothing_is_in_the_way_of_a_screen_reader(new_page, server):
    page = look(new_page, server)
    page.tab.goto(server.url + "/#/server")
    expect(page.tab.get_by_role("img", name=re.compile("Memory by part: Weights"))).to_be_visible()
    assert violations(page) == []


@needs_axe
def test_nor_in_the_dark_on_a_phone(new_page, server):
    page = look(new_page, server, color_scheme="dark", viewport={"width": 360, "height": 700})
    width = "document.documentElement.scrollWidth"
    assert page.tab.evaluate(width) == 360
    page.button("Show the list of chats").click()
    expect(page.tab.get_by_role("link", name="Show me.")).to_be_in_viewport()
    assert violations(page) == []
    page.tab.keyboard.press("Escape")
    expect(page.tab.get_by_role("link", name="Show me.")).to_be_hidden()
    page.tab.goto(server.url + "/#/server")
    expect(page.tab.get_by_role("img", name=re.compile("Memory by part: Weights"))).to_be_visible()
    assert violations(page) == []
    assert page.tab.evaluate(width) == 360


@needs_axe
def test_nor_in_the_way_to_the_key(new_page, start_server):
    page = new_page(start_server("--api-key", "sesame").url)
    expect(page.tab.get_by_role("dialog")).to_be_visible()
    assert violations(page) == []
