"""The page in a real Chromium, served by the real binary with the real model.

CHROMIUM names another browser than Debian's. Whatever a test does, the page must ask nobody but its
server, and neither break the content security policy nor throw.
"""

import importlib.util
import json
import os
import pathlib
import shutil
import time

import pytest
from playwright.sync_api import expect, sync_playwright

ROOT = pathlib.Path(__file__).resolve().parents[2]
WEB = ROOT / "web"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")

_spec = importlib.util.spec_from_file_location("conformance", ROOT / "tests/conformance/conftest.py")
conformance = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(conformance)
MODEL, SMOLLM2 = conformance.MODEL, conformance.SMOLLM2
server, start_server = conformance.server, conformance.start_server  # fixtures
SECONDS = 20  # that what is to come may take, on a machine that does other things as well
expect.set_options(timeout=SECONDS * 1000)


class Page:
    """What a user sees and does, and what the browser complains of meanwhile."""

    def __init__(self, context, url, path="/"):
        self.url = url
        self.complaints = []
        self.tab = context.new_page()
        self.tab.set_default_timeout(SECONDS * 1000)
        self.tab.on("request", self._asked)
        self.tab.on("pageerror", lambda error: self.complaints.append(f"threw {error}"))
        self.tab.on("console", self._said)
        self.tab.goto(url + path)

    def _asked(self, request):
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.complaints.append(f"asked {request.url}")

    def _said(self, message):
        # Chromium itself writes of answers that are errors, and of connections that fail.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.complaints.append(f"said {message.text}")

    @property
    def box(self):
        return self.tab.get_by_role("textbox", name="Message", exact=True)

    def button(self, name):
        return self.tab.get_by_role("button", name=name, exact=True)

    def messages(self, role):
        return self.tab.locator(f"article.{role}")

    def set(self, label, text):
        """One of the chat's settings."""
        if self.button("Done").count() == 0:
            self.button("Settings").click()
        self.tab.get_by_label(label, exact=True).fill(text)

    def send(self, text):
        self.box.fill(text)
        self.box.press("Enter")

    def wait_until_answered(self):
        self.tab.locator("article:last-of-type.assistant:not([aria-busy=true])").wait_for()

    def ask(self, text):
        self.send(text)
        self.wait_until_answered()

    def stored(self, role=None):
        """The messages in the browser's database, oldest first."""
        messages = self.tab.evaluate(
            """() => new Promise((resolve, reject) => {
                 const open = indexedDB.open("mlxd");
                 open.onerror = () => reject(open.error);
                 open.onsuccess = () => {
                   const all = open.result.transaction("messages").objectStore("messages").getAll();
                   all.onsuccess = () => { open.result.close(); resolve(all.result); };
                 };
               })"""
        )
        messages.sort(key=lambda message: message["created"])
        return [message for message in messages if role in (None, message["role"])]

    def wait_for_stored(self, holds):
        deadline = time.monotonic() + 10
        while not holds(self.stored()):
            assert time.monotonic() < deadline, self.stored()
            time.sleep(0.02)

    def answer_with(self, *deltas, finish="stop"):
        """The server's next answers are these deltas, for what a small model does not do by itself."""
        chunks = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
        self.tab.route(
            "**/v1/chat/completions",
            lambda route: route.fulfill(body=body, content_type="text/event-stream"),
        )


@pytest.fixture(scope="session")
def browser():
    assert CHROMIUM, "no Chromium: scripts/setup --tests installs it, or name one in CHROMIUM"
    with sync_playwright() as playwright:
        # Chromium's own sandbox needs what containers often do not give; it runs our page alone.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def new_page(browser):
    """Opens pages; each call is a browser of its own unless it is given the `context` of another."""
    pages = []

    def make(url, path="/", context=None, **options):
        page = Page(context or browser.new_context(**options), url, path)
        pages.append(page)
        return page

    yield make
    complaints = [complaint for page in pages for complaint in page.complaints]
    for page in pages:
        page.tab.context.close()
    assert complaints == []


@pytest.fixture
def page(new_page, server):
    return new_page(server.url)
