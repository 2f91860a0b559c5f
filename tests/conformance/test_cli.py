"""The commands of the program, as a user types them."""

import json
import os
import pty
import re
import select
import subprocess
import time

import pytest

from conftest import BINARY, MODEL, MODELS, ROOT, SMOLLM2


def mlxd(*arguments, **options):
    return subprocess.run(
        [str(BINARY), *map(str, arguments)], capture_output=True, text=True, timeout=300, **options
    )


def test_help_and_version():
    assert "serve" in mlxd("--help").stdout
    version = mlxd("--version").stdout
    assert re.search(r"mlxd \d+\.\d+\.\d+", version) and "backends: cpu" in version
    for command in ("serve", "chat", "bench", "inspect"):
        result = mlxd(command, "--help")
        assert result.returncode == 0 and len(result.stdout) > 200


def test_the_readme_lists_every_setting():
    readme = (ROOT / "README.md").read_text()
    options = set(re.findall(r"(--[a-z-]+)", mlxd("serve", "--help").stdout)) - {"--help"}
    missing = [o for o in sorted(options) if f"`{o}`" not in readme]
    assert missing == []
    variables = re.findall(r"(?:Env|env):(MLXD_[A-Z_]+)", mlxd("serve", "--help").stdout)
    assert variables and [v for v in variables if f"`{v}`" not in readme] == []


def test_inspect():
    text = mlxd("inspect", SMOLLM2)
    assert text.returncode == 0, text.stderr
    for word in ("llama", "Q4_1", "8192", "135"):
        assert word in text.stdout
    data = json.loads(mlxd("inspect", "--json", SMOLLM2).stdout)
    assert data["architecture"] == "llama"


def test_bench_prints_one_json_object_a_line():
    result = mlxd("bench", "--model", SMOLLM2, "--prompt", 32, "--gen", 8, "--batch", "1,2",
                  "--repeat", 1, "--json")
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["batch"] for line in lines] == [1, 2]
    assert all(line["generated_tokens_per_second"] > 0 for line in lines)


def test_chat_reads_lines_and_answers():
    ask = ["chat", "--model", SMOLLM2, "--seed", 3, "--max-tokens", 20]
    first = mlxd(*ask, input="Hello\nAnd again\n")
    assert first.returncode == 0, first.stderr
    assert len(first.stdout.strip()) > 10
    assert mlxd(*ask, input="Hello\nAnd again\n").stdout == first.stdout


def test_chat_in_a_terminal_stops_an_answer_at_ctrl_c():
    process_id, terminal = pty.fork()
    if process_id == 0:
        os.execv(BINARY, [str(BINARY), "chat", "--model", str(SMOLLM2)])
    shown = b""

    def read_until(pattern, seconds=60):
        nonlocal shown
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if re.search(pattern, shown):
                return
            if select.select([terminal], [], [], 0.1)[0]:
                try:
                    shown += os.read(terminal, 4096)
                except OSError:
                    break
        raise AssertionError(f"{pattern} not in {shown}")

    read_until(rb"> ")
    os.write(terminal, b"Write a story of a thousand words.\n")
    time.sleep(0.7)
    shown = b""
    os.write(terminal, b"\x03")
    read_until(rb"> ", 5)
    os.write(terminal, b"/exit\n")
    assert os.waitstatus_to_exitcode(os.waitpid(process_id, 0)[1]) == 0


@pytest.mark.parametrize(
    "arguments,words",
    [
        (["inspect", "/nonexistent.gguf"], ["/nonexistent.gguf"]),
        (["serve", "--model", "no-such/model"], ["no-such/model"]),
        (["serve", "--port", "99999", "--model", "x"], ["port"]),
        (["serve"], ["--model"]),
        (["serve", "--no-such-flag"], ["no-such-flag"]),
        (
            ["serve", "--model", SMOLLM2, "--prefix-cache", "off", "--prefix-cache-dir", "cache"],
            ["--prefix-cache-dir", "--prefix-cache off"],
        ),
        (["frobnicate"], ["frobnicate"]),
    ],
    ids=str,
)
def test_a_mistake_is_one_clear_sentence(arguments, words):
    result = mlxd(*arguments)
    assert result.returncode == 1
    assert all(word in result.stderr + result.stdout for word in words)
    assert len((result.stderr + result.stdout).strip().splitlines()) <= 3


def test_a_damaged_model_file_names_file_and_field(tmp_path):
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(SMOLLM2.read_bytes()[:5_000_000])
    result = mlxd("inspect", damaged)
    assert result.returncode == 1 and "damaged.gguf" in result.stderr
    damaged.write_bytes(b"GGUF" + (99).to_bytes(4, "little") + bytes(64))
    assert "version" in mlxd("inspect", damaged).stderr


def test_an_installed_tree_runs_from_elsewhere(tmp_path):
    subprocess.run(
        ["cmake", "--install", BINARY.parent, "--prefix", tmp_path / "tree"],
        check=True, capture_output=True,
    )
    moved = (tmp_path / "tree").rename(tmp_path / "moved")
    version = subprocess.run([moved / "bin/mlxd", "--version"], capture_output=True, text=True)
    assert version.returncode == 0, version.stderr
    assert (moved / "share/doc/mlxd/LICENSE").exists()
    assert list((moved / "share/doc/mlxd/licenses/rust").glob("tokenizers-*/LICENSE"))
    linked = subprocess.run(["ldd", moved / "bin/mlxd"], capture_output=True, text=True).stdout
    if "libmlx" in linked:
        assert str(moved) in re.search(r"libmlx\S* => (\S+)", linked).group(1)


def test_the_memory_that_inspect_foretells_is_not_exceeded(start_server):
    plan = json.loads(mlxd("inspect", "--json", SMOLLM2).stdout)
    server = start_server()
    server.client().completions.create(model=MODEL, prompt="word " * 2000, max_tokens=4, logprobs=2)
    server.client().completions.create(
        model=MODEL, prompt="word " * 700, max_tokens=1, logprobs=2, echo=True
    )
    part = lambda name: server.metric("mlxd_memory_bytes", part=name)
    assert part("weights") <= 1.1 * plan["weight_bytes"]
    assert 0 < part("buffers") <= plan["buffer_bytes"]
    assert 1900 * plan["kv_bytes_per_token"] < part("kv_cache") < part("kv_reserved")
    taken = part("weights") + part("kv_cache") + part("buffers")
    resident = server.metric("process_resident_memory_bytes")
    print(f"in the ledger {taken / 2**20:.0f} MiB, resident {resident / 2**20:.0f} MiB")
    assert resident < taken + 96 * 2**20
