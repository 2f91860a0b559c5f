"""Completions and the manual page, which are made of the program's own option tables."""

import re
import shutil
import subprocess
import sys

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
        subprocess.run([shell, "--no-execute", tmp_path / "script"], check=True, timeout=60)


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
