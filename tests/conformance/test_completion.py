"""Completions and the manual page, which are made of the program's own option tables."""

import os
import pty
import re
import shutil
import subprocess
import sys
import time

import pytest

from conftest import BINARY, ROOT

COMMANDS = ("serve", "run", "chat", "pull", "list", "ps", "rm", "bench", "inspect", "completion", "help")


def mlxd(*arguments):
    return subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=60)


@pytest.fixture
def in_bash(tmp_path):
    script = tmp_path / "mlxd.bash"
    script.write_text(mlxd("completion", "bash").stdout)

    def complete(*words):
        typed = " ".join(f"'{word}'" for word in words)
        code = f'source {script}; COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}; _mlxd; echo "${{COMPREPLY[@]}}"'
        told = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
        assert told.stderr == ""
        return told.stdout.split()

    return complete


def test_bash_completes_commands_options_and_values(in_bash):
    assert set(in_bash("mlxd", "")) == {*COMMANDS, "--help", "--version"}
    assert in_bash("mlxd", "ser") == ["serve"]
    assert in_bash("mlxd", "serve", "--kv-cache-t") == ["--kv-cache-type"]
    assert in_bash("mlxd", "serve", "--kv-cache-type", "") == ["f16", "int8"]
    assert in_bash("mlxd", "serve", "--log-level", "w") == ["warning"]
    assert in_bash("mlxd", "help", "in") == ["inspect"]
    assert in_bash("mlxd", "completion", "f") == ["fish"]
    # Nothing of ours: files, which bash adds.
    assert in_bash("mlxd", "serve", "") == in_bash("mlxd", "serve", "--model", "") == []


@pytest.mark.parametrize("command", [c for c in COMMANDS if c != "help"])
def test_bash_knows_every_option_that_the_help_tells(in_bash, command):
    told = re.findall(r"^ {2}(?:-\w,)?(--[a-z][a-z-]*)", mlxd("help", command).stdout, re.M)
    assert told and set(told) <= set(in_bash("mlxd", command, "-"))


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_read_their_scripts(tmp_path, shell):
    script = mlxd("completion", shell).stdout
    for word in ("serve", "kv-cache-type", "f16 int8"):
        assert word in script
    if shutil.which(shell):
        (tmp_path / "script").write_text(script)
        subprocess.run([shell, "-n", tmp_path / "script"], check=True, timeout=60)


@pytest.mark.skipif(not shutil.which("fish"), reason="there is no fish here")
@pytest.mark.parametrize(
    "typed, offered",
    [("ser", ["serve"]), ("serve --kv-cache-t", ["--kv-cache-type"]), ("serve --kv-cache-type ", ["f16", "int8"]),
     ("completion ", ["bash", "fish", "zsh"])],
)
def test_fish_completes(tmp_path, typed, offered):
    (tmp_path / "mlxd.fish").write_text(mlxd("completion", "fish").stdout)
    told = subprocess.run(
        ["fish", "--no-config", "-c", 'source $argv[1]; complete -C $argv[2]', tmp_path / "mlxd.fish", f"mlxd {typed}"],
        capture_output=True, text=True, check=True, timeout=60, env={**os.environ, "HOME": str(tmp_path)},
    )
    assert [line.split("\t")[0] for line in told.stdout.splitlines()] == offered


@pytest.mark.skipif(not shutil.which("zsh"), reason="there is no zsh here")
@pytest.mark.parametrize(
    "typed, becomes",
    [("ser", "serve "), ("serve --kv-cache-t", "serve --kv-cache-type "), ("serve --log-level w", "serve --log-level warning "),
     ("completion f", "completion fish ")],
)
def test_zsh_completes(tmp_path, typed, becomes):
    """In a terminal of its own: a line, the tab key, and a key that writes down what the line has become."""
    (tmp_path / "_mlxd").write_text(mlxd("completion", "zsh").stdout)
    (tmp_path / ".zshrc").write_text(
        f"fpath=({tmp_path} $fpath); autoload -Uz compinit; compinit -u -D\n"
        f"tell() {{ print -r -- $BUFFER >{tmp_path}/line; exit }}; zle -N tell; bindkey '^X' tell\n"
        f"zle-line-init() {{ : >{tmp_path}/ready }}; zle -N zle-line-init\n"
    )
    keys, terminal = pty.openpty()
    shell = subprocess.Popen(
        ["zsh", "-d", "-i"], stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
        env={**os.environ, "ZDOTDIR": str(tmp_path), "TERM": "xterm"},
    )
    os.close(terminal)
    try:
        wait_for((tmp_path / "ready").exists)
        os.write(keys, f"mlxd {typed}\t\x18".encode())
        wait_for(lambda: (tmp_path / "line").exists() and (tmp_path / "line").read_text())
        assert (tmp_path / "line").read_text() == f"mlxd {becomes}\n"
    finally:
        shell.kill()
        shell.wait()
        os.close(keys)


def wait_for(happened):
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_another_shell_is_refused():
    refused = mlxd("completion", "tcsh")
    assert refused.returncode == 1 and "bash, zsh and fish" in refused.stderr
    assert mlxd("completion").returncode == 1


def test_the_manual_page_has_every_command_and_option():
    page = subprocess.run(
        [sys.executable, ROOT / "packaging/man.py", BINARY], capture_output=True, text=True, check=True
    ).stdout
    plain = page.replace("\\-", "-")
    for command in COMMANDS:
        assert f".B mlxd {command}\n" in plain
    for option in re.findall(r"^ {2}(?:-\w,)?(--[a-z][a-z-]*)", mlxd("help", "serve").stdout, re.M):
        assert option in plain, option
    assert "(\\fBMLXD_KV_CACHE_GB\\fR)" in page
    # No line is taken for one of the macros, but those that are meant.
    assert set(re.findall(r"^\.(\S+)", page, re.M)) == {"TH", "SH", "SS", "TP", "B", "I", "PP", "nf", "fi"}
