"""`mlxd chat`: in a pipe, in a terminal with an editor and in one without."""

import os
import pty
import re
import select
import time

import pytest
from conftest import BINARY, GEMMA3, MODELS, SMOLLM2
from test_cli import CLEAN, mlxd


def test_chat_reads_lines_and_answers():
    ask = ["chat", "--model", SMOLLM2, "--seed", 3, "--max-tokens", 20]
    first = mlxd(*ask, input="Hello\nAnd again\n")
    assert first.returncode == 0, first.stderr
    assert len(first.stdout.strip()) > 10
    assert mlxd(*ask, input="Hello\nAnd again\n").stdout == first.stdout


class Terminal:
    """`mlxd chat` as a person sees it, without the sequences that colour and move."""

    def __init__(self, *arguments, kind="xterm-256color", **variables):
        self.process, self.terminal = pty.fork()
        if self.process == 0:
            environment = CLEAN | {"TERM": kind} | {name: str(value) for name, value in variables.items()}
            os.execve(BINARY, [str(BINARY), "chat", *map(str, arguments)], environment)
        self.raw = self.shown = b""

    def read_until(self, pattern, seconds=120):
        """What was shown up to there, and is then forgotten."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := re.search(pattern, self.shown):
                seen, self.shown = self.shown[: found.end()], self.shown[found.end() :]
                return seen.decode(errors="replace")
            if select.select([self.terminal], [], [], 0.1)[0]:
                try:
                    self.raw += os.read(self.terminal, 4096)
                except OSError:
                    break
                whole, begun = re.fullmatch(rb"(.*?)(\x1b(?:\[[0-9;?]*)?)?", self.raw, re.DOTALL).groups()
                self.shown += re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", whole)
                self.raw = begun or b""
        raise AssertionError(f"{pattern} not in {self.shown}")

    def prompt(self):
        return self.read_until(rb"[\r\n]> ")

    def type(self, text):
        os.write(self.terminal, text)

    def status(self):
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


@pytest.fixture(params=["xterm-256color", "dumb"])
def open_chat(request, tmp_path):
    """A terminal with an editor, and one without."""

    def open_chat(*arguments):
        return Terminal(*arguments, kind=request.param, HOME=tmp_path)

    return open_chat


def test_chat_in_a_terminal_stops_an_answer_at_ctrl_c(open_chat):
    chat = open_chat(SMOLLM2)
    chat.prompt()
    chat.type(b"Write a story of a thousand words.\n")
    chat.read_until(rb"words\.\s+\w")  # the echo, and the answer's beginning
    chat.type(b"\x03")
    assert "stopped" in chat.prompt()
    chat.type(b"/exit\n")
    assert chat.status() == 0


def test_ctrl_c_at_the_prompt_keeps_the_conversation(open_chat):
    chat = open_chat(SMOLLM2, "--max-tokens", 5)
    chat.prompt()
    chat.type(b"Hello\n")
    chat.read_until(rb"tok/s")
    chat.prompt()
    chat.type(b"\x03")  # meant for the answer, and late
    chat.read_until(rb"Ctrl-D or /exit leaves")
    chat.prompt()
    time.sleep(3.2)  # what comes later than this is not the second of two
    chat.type(b"half a line\x03")
    chat.read_until(rb"Ctrl-D or /exit leaves")
    chat.prompt()
    chat.type(b"Go on\n")
    chat.read_until(rb"tok/s")
    chat.prompt()
    chat.type(b"\x03")
    chat.prompt()
    chat.type(b"\x03")
    assert chat.status() == 0


def test_chat_ends_at_ctrl_d(open_chat):
    chat = open_chat(SMOLLM2)
    chat.prompt()
    chat.type(b"\x04")
    assert chat.status() == 0


def test_chat_has_commands_and_says_which(open_chat):
    chat = open_chat(SMOLLM2, "--max-tokens", 3)
    chat.prompt()
    chat.type(b"/help\n")
    shown = chat.read_until(rb"under way")
    assert all(name in shown for name in ("/clear", "/system", "/file", "/retry", "/model", "/exit", "//TEXT"))
    chat.prompt()
    chat.type(b"/frobnicate\n")
    shown = chat.read_until(rb"as a message")
    assert "there is no command /frobnicate" in shown and "/help" in shown
    chat.prompt()
    chat.type(b"/clear\n")
    chat.read_until(rb"begins again")
    chat.prompt()
    chat.type(b"//etc/hosts is what?\n")  # a message that begins with a slash
    chat.read_until(rb"tok/s")
    chat.prompt()
    chat.type(b"/quit\n")
    assert chat.status() == 0


def test_lines_of_a_chat_are_edited_completed_and_remembered(tmp_path):
    chat = Terminal(SMOLLM2, "--max-tokens", 3, HOME=tmp_path)
    chat.prompt()
    chat.type(b"/systm Be brief.\x01" + b"\x1b[C" * 5 + b"e\x05\r")  # begin, five right, end
    chat.read_until(rb"with this system message")
    chat.prompt()
    chat.type(b"/cl\t\r")
    chat.read_until(rb"the conversation begins again\r\n")
    chat.prompt()
    chat.type(b"\x04")
    assert chat.status() == 0
    again = Terminal(SMOLLM2, "--max-tokens", 3, HOME=tmp_path)
    again.prompt()
    again.type(b"\x1b[A\x1b[A\r")
    assert "/system Be brief." in again.read_until(rb"with this system message")
    again.prompt()
    again.type(b"/exit\r")
    assert again.status() == 0
    history = tmp_path / ".local/state/mlxd/history"
    assert history.stat().st_mode & 0o077 == 0  # what one asks is nobody else's


def test_a_message_may_have_several_lines(tmp_path):
    chat = Terminal(SMOLLM2, "--max-tokens", 3, HOME=tmp_path)
    chat.prompt()
    chat.type(b"one \\\rtwo\r")
    chat.read_until(rb"tok/s")
    chat.prompt()
    chat.type(b"\x1b[200~three\nfour\x1b[201~\r")  # pasted
    chat.read_until(rb"tok/s")
    chat.prompt()
    chat.type(b"/exit\r")
    assert chat.status() == 0
    assert "one \\\\\\ntwo" in (tmp_path / ".local/state/mlxd/history").read_text()


def test_a_file_goes_with_the_next_message(open_chat, tmp_path):
    (tmp_path / "note.txt").write_text("The password is kingfisher.\n" * 40)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\0\0")
    chat = open_chat(SMOLLM2, "--max-tokens", 4)
    chat.prompt()
    for line, words in [
        (f"/file {tmp_path}/picture.png", rb"not a text file"),
        (f"/file {tmp_path}/nothing", rb"cannot be read"),
        ("/file", rb"takes the path"),
        ("/retry", rb"no answer to drop"),
        (f"/file {tmp_path}/note.txt", rb"goes with your next message"),
        ("What is the password?", rb"tok/s"),
        ("/retry", rb"tok/s"),
    ]:
        chat.type(line.encode() + b"\n")
        chat.read_until(words)
        chat.prompt()
    chat.type(b"/exit\n")
    assert chat.status() == 0


def test_a_conversation_goes_on_with_another_model(open_chat):
    chat = open_chat(SMOLLM2, "--max-tokens", 4)
    chat.prompt()
    for line, words in [
        ("/model", rb"this is SmolLM2\S*Q4_1, with a context of 8192 tokens"),
        ("/model /nonexistent.gguf", rb"was found; searched"),
        (f"/model {GEMMA3}", rb"is a base model without a chat template"),
        ("Hello", rb"tok/s"),
        (f"/model {MODELS}/SmolLM2-135M-Instruct-8bit", rb"this is SmolLM2-135M-Instruct-8bit"),
        ("And again", rb"tok/s"),
    ]:
        chat.type(line.encode() + b"\n")
        chat.read_until(words)
        chat.prompt()
    chat.type(b"/exit\n")
    assert chat.status() == 0


def test_answers_in_a_pipe_are_not_styled():
    result = mlxd("chat", SMOLLM2, "--max-tokens", 20, input="Say **hello** in bold\n", env=CLEAN | {"TERM": "xterm"})
    assert result.returncode == 0 and "\x1b" not in result.stdout + result.stderr


def test_an_unknown_command_in_a_file_of_messages_is_not_sent():
    result = mlxd("chat", SMOLLM2, "--max-tokens", 3, input="/frobnicate\nHello\n")
    assert result.returncode == 1
    assert "/frobnicate" in result.stderr and result.stdout == ""
