"""Models that come from the hub: pull, run, list, rm, and the cache that huggingface_hub shares.

The hub is a double (hub_double.py): no test needs the network.
"""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading

import pytest

from conftest import BINARY, MODELS, SMOLLM2
from hub_double import HubDouble, Repository

SMOL = "org/Smol-GGUF"
FOLDER = "org/Smol-MLX"
WEIGHTS = bytes(range(256)) * (40 << 12)  # 40 MiB: three pieces
COMMIT = "1" * 40


class Hub(HubDouble):
    """The double, and mlxd with a cache of its own that asks it."""

    def __init__(self, home, certificate=None):
        super().__init__(certificate)
        self.home = home
        own = ("MLXD_", "HF_", "SSL_CERT", "CURL_CA", "REQUESTS_CA")
        self.environment = {
            k: v for k, v in os.environ.items() if not k.startswith(own) and not k.lower().endswith("_proxy")
        } | {
            "HF_HOME": str(home),
            "HF_ENDPOINT": self.url,
        }

    def mlxd(self, *arguments, **options):
        environment = self.environment | options.pop("env", {})
        return subprocess.run(
            [str(BINARY), *map(str, arguments)],
            capture_output=True, text=True, timeout=120, env=environment, **options,
        )

    def start(self, *arguments):
        return subprocess.Popen(
            [str(BINARY), *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment,
        )

    def pull(self, *arguments, **options):
        """The path that a pull prints."""
        result = self.mlxd("pull", *arguments, **options)
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    def refused(self, *arguments, **options):
        """The one sentence that a pull says when it fails, whatever progress it told before."""
        result = self.mlxd("pull", *arguments, **options)
        assert result.returncode == 1 and result.stdout == "", result.stdout
        assert re.fullmatch(r"([^\n]+: \d+ %, [^\n]+\n)*mlxd: [^\n]+\n", result.stderr), result.stderr
        return result.stderr

    def folder(self, name=SMOL):
        return self.home / "hub" / ("models--" + name.replace("/", "--"))

    def fetched(self):
        """The bytes that were asked for by range."""
        total = 0
        for request in self.asked():
            first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", request.range).groups())
            total += last - first + 1
        return total


@pytest.fixture
def hub(tmp_path):
    double = Hub(tmp_path / "hf")
    double.repositories[SMOL] = Repository(
        {
            "README.md": b"# A model",
            "Smol-Q4_K_M.gguf": WEIGHTS,
            "Smol-Q8_0.gguf": b"eight bits",
            "mmproj-Smol-Q8_0.gguf": b"a projector",
            "big/Smol-BF16-00001-of-00002.gguf": b"the first part",
            "big/Smol-BF16-00002-of-00002.gguf": b"the second part",
        }
    )
    yield double
    if double.gate:
        double.gate.set()
    double.close()


def blobs(hub, name=SMOL):
    return sorted(path.name for path in (hub.folder(name) / "blobs").iterdir())


def test_a_quantisation_is_chosen_as_llama_server_does(hub):
    assert hub.pull(SMOL).endswith("/Smol-Q4_K_M.gguf")
    assert hub.pull(SMOL + ":q8_0").endswith("/Smol-Q8_0.gguf")
    assert hub.pull(SMOL + ":BF16").endswith("/big/Smol-BF16-00001-of-00002.gguf")
    snapshot = hub.folder() / "snapshots" / COMMIT
    there = {str(p.relative_to(snapshot)) for p in snapshot.rglob("*") if p.is_file()}
    assert there == {path for path in hub.repositories[SMOL].files if path.endswith(".gguf")} - {
        "mmproj-Smol-Q8_0.gguf"
    }
    assert (snapshot / "Smol-Q4_K_M.gguf").read_bytes() == WEIGHTS
    refused = hub.refused(SMOL + ":Q5_K_M")
    assert "Q4_K_M, Q8_0" in refused and "mmproj" not in refused


def test_large_files_come_in_pieces_over_several_connections(hub):
    hub.pull(SMOL, "--connections", "3")
    assert len(hub.asked()) == 3 and hub.fetched() == len(WEIGHTS)


def test_the_token_is_shown_to_the_hub_alone(hub):
    (hub.home).mkdir()
    (hub.home / "token").write_text("hf_of_the_file\n")
    hub.pull(SMOL)
    assert {request.token for request in hub.asked("hub")} == {"Bearer hf_of_the_file"}
    assert {request.token for request in hub.asked("bytes")} == {None}
    hub.forget()
    hub.pull(SMOL + ":Q8_0", env={"HF_TOKEN": "hf_of_the_variable"})
    assert {request.token for request in hub.asked("hub")} == {"Bearer hf_of_the_variable"}
    assert "HF_TOKEN" in hub.refused(SMOL, env={"HF_TOKEN": "two\nlines"})


def test_what_is_there_is_not_fetched_again(hub):
    path = hub.pull(SMOL)
    hub.forget()
    assert hub.pull(SMOL) == path and hub.asked() == []
    # A new commit shares what it did not change.
    hub.repositories[SMOL].commit = "2" * 40
    again = hub.pull(SMOL)
    assert again == path.replace(COMMIT, "2" * 40) and hub.asked() == []
    assert (hub.folder() / "refs/main").read_text() == "2" * 40


def test_a_revision_is_a_branch_or_a_commit(hub):
    hub.repositories[SMOL].revisions.add("refs/pr/1")
    hub.pull(SMOL + ":Q8_0@refs/pr/1")
    assert (hub.folder() / "refs/refs/pr/1").read_text() == COMMIT
    hub.pull(f"{SMOL}:Q8_0@{COMMIT}")
    assert not (hub.folder() / "refs/main").exists()
    refused = hub.refused(SMOL + "@no-such")
    assert "has no revision no-such" in refused and "/tree/main" in refused


def huggingface_hub(hub, code, offline=True):
    """What Python prints that has huggingface_hub."""
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, timeout=120,
        env=hub.environment | {"HF_HUB_OFFLINE": "1" if offline else "0", "HF_HUB_DISABLE_XET": "1"},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_huggingface_hub_finds_what_was_pulled(hub):
    path = hub.pull(SMOL)
    found = huggingface_hub(
        hub, f"from huggingface_hub import *; print(hf_hub_download('{SMOL}', 'Smol-Q4_K_M.gguf'))"
    )
    assert found == path
    assert huggingface_hub(
        hub, f"from huggingface_hub import *; print(snapshot_download('{SMOL}', allow_patterns='*Q4_K_M*'))"
    ) == os.path.dirname(path)
    scanned = huggingface_hub(
        hub,
        "from huggingface_hub import *; found = scan_cache_dir(); (repo,) = found.repos;"
        "print(found.warnings, repo.repo_id, repo.size_on_disk, *[r.commit_hash for r in repo.revisions])",
    )
    assert scanned == f"[] {SMOL} {len(WEIGHTS)} {COMMIT}"


def test_what_huggingface_hub_pulled_is_found(hub):
    hub.repositories[SMOL].files["Smol-Q4_K_M.gguf"] = SMOLLM2.read_bytes()
    path = huggingface_hub(
        hub,
        f"from huggingface_hub import *; print(hf_hub_download('{SMOL}', 'Smol-Q4_K_M.gguf'))",
        offline=False,
    )
    hub.forget()
    for id in (SMOL, SMOL + ":Q4_K_M"):
        inspected = hub.mlxd("inspect", "--json", id)
        assert inspected.returncode == 0, inspected.stderr
        assert json.loads(inspected.stdout)["path"] == path
    assert hub.requests == []
    assert hub.pull(SMOL) == path and hub.asked() == []  # only the list was asked for


def mlx_folder():
    folder = MODELS / "SmolLM2-135M-Instruct-4bit"
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_folder_comes_with_what_is_read_of_it(hub):
    files = mlx_folder()
    hub.repositories[FOLDER] = Repository(
        files
        | {"README.md": b"#", "picture.png": b"png", "consolidated.safetensors": b"once more",
           "onnx/model.onnx": b"another form"}
    )
    path = hub.pull(FOLDER)
    assert sorted(os.listdir(path)) == sorted(files.keys() - {"README.md"})
    shown = json.loads(hub.mlxd("inspect", "--json", FOLDER).stdout)
    assert shown["path"] == path and shown["file_format"] == "safetensors"
    assert "is an MLX folder" in hub.refused(FOLDER + ":Q4_K_M")


def test_run_fetches_once_and_talks(hub):
    hub.repositories[SMOL].files["Smol-Q4_K_M.gguf"] = SMOLLM2.read_bytes()
    first = hub.mlxd("run", SMOL, "--max-tokens", 4, "--seed", 1, input="Hello\n")
    assert first.returncode == 0 and first.stdout.strip(), first.stderr
    hub.forget()
    again = hub.mlxd("run", SMOL, "--max-tokens", 4, "--seed", 1, input="Hello\n")
    assert again.stdout == first.stdout and hub.requests == []
    refused = hub.mlxd("chat", SMOL + ":Q8_0", input="")
    assert refused.returncode == 1 and f"mlxd pull {SMOL}:Q8_0" in refused.stderr and hub.requests == []


def test_serve_fetches_what_is_said_to_be_on_the_hub(hub, start_server):
    hub.repositories[SMOL].files["Smol-Q4_K_M.gguf"] = SMOLLM2.read_bytes()
    server = start_server(model=f"hf:{SMOL}:Q4_K_M", environment=hub.environment)
    assert [model.id for model in server.client().models.list().data] == [SMOL + ":Q4_K_M"]
    named = start_server(model=f"small=hf:{SMOL}", environment=hub.environment | {"HF_HUB_OFFLINE": "1"})
    assert [model.id for model in named.client().models.list().data] == ["small"]


def test_offline_asks_nobody(hub):
    offline = {"HF_HUB_OFFLINE": "1"}
    assert "HF_HUB_OFFLINE" in hub.refused(SMOL, env=offline) and hub.requests == []


def test_list_tells_what_is_there(hub):
    assert "mlxd pull" in hub.mlxd("list").stderr
    hub.repositories[SMOL].files["Smol-Q4_K_M.gguf"] = SMOLLM2.read_bytes()
    hub.repositories[FOLDER] = Repository(mlx_folder())
    path = hub.pull(SMOL)
    hub.pull(SMOL + ":BF16")
    folder = hub.pull(FOLDER)
    models = {m["id"]: m for m in map(json.loads, hub.mlxd("list", "--json").stdout.splitlines())}
    assert list(models) == [SMOL + ":BF16", SMOL + ":Q4_K_M", FOLDER]
    gguf, mlx = models[SMOL + ":Q4_K_M"], models[FOLDER]
    assert (gguf["path"], gguf["family"], gguf["quant"]) == (path, "llama", "Q4_K_M")
    assert gguf["bytes"] == SMOLLM2.stat().st_size and gguf["complete"]
    assert (mlx["path"], mlx["family"]) == (folder, "llama") and mlx["quant"].endswith("bits")
    table = hub.mlxd("list").stdout.splitlines()
    assert table[0].split() == ["ID", "QUANT", "SIZE", "FAMILY", "MODIFIED"] and len(table) == 4


def test_rm_removes_what_it_is_told_and_no_more(hub):
    hub.repositories[SMOL].revisions.add("old")
    hub.pull(SMOL + ":Q8_0@old")
    hub.repositories[SMOL].commit = "2" * 40
    hub.pull(SMOL + ":Q8_0")
    hub.pull(SMOL)
    removed = hub.mlxd("rm", SMOL + ":Q4_K_M")
    assert removed.returncode == 0 and "42 MB freed" in removed.stdout, removed
    assert len(blobs(hub)) == 1 and not (hub.folder() / "snapshots" / ("2" * 40) / "Smol-Q4_K_M.gguf").exists()
    # The blob that two revisions share stays while one of them does.
    assert "0 bytes freed" in hub.mlxd("rm", SMOL + "@old").stdout
    assert not (hub.folder() / "refs/old").exists() and len(blobs(hub)) == 1
    missing = hub.mlxd("rm", SMOL + ":Q6_K")
    assert missing.returncode == 1 and f"there are {SMOL}:Q8_0" in missing.stderr
    assert "10 bytes freed" in hub.mlxd("rm", SMOL).stdout
    assert not hub.folder().exists()
    assert "mlxd list" in hub.mlxd("rm", SMOL).stderr


def test_rm_leaves_alone_what_is_being_fetched(hub):
    hub.pull(SMOL + ":Q8_0")
    hub.gate = threading.Event()
    pulling = hub.start("pull", SMOL)
    wait_until(lambda: hub.asked() and any(n.endswith(".incomplete") for n in blobs(hub)))
    refused = hub.mlxd("rm", SMOL)
    assert refused.returncode == 1 and "another process" in refused.stderr
    hub.gate.set()
    assert pulling.wait(60) == 0


def wait_until(condition, seconds=30):
    """Waits for a condition of another process, which cannot be waited for otherwise."""
    waiter = threading.Event()
    for _ in range(seconds * 50):
        if condition():
            return
        waiter.wait(0.02)
    raise AssertionError("it did not come to pass")


def test_two_processes_that_want_the_same_fetch_it_once(hub):
    hub.gate = threading.Event()
    pulling = [hub.start("pull", SMOL) for _ in range(2)]
    wait_until(lambda: len(hub.asked("hub")) >= 2 and hub.asked())
    hub.gate.set()
    paths = {process.communicate(timeout=60)[0] for process in pulling}
    assert [process.returncode for process in pulling] == [0, 0]
    assert len(paths) == 1 and hub.fetched() == len(WEIGHTS)


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL])
def test_what_was_stopped_is_taken_up_again(hub, kind):
    hub.gate = threading.Event()
    pulling = hub.start("pull", SMOL)
    ranges = lambda: [n for n in blobs(hub) if n.endswith(".ranges")]  # noqa: E731
    saved = lambda: ranges() and " 65536\n" in (hub.folder() / "blobs" / ranges()[0]).read_text()  # noqa: E731
    wait_until(lambda: hub.asked() and (hub.folder() / "blobs").exists() and saved())
    pulling.send_signal(kind)
    _, said = pulling.communicate(timeout=60)
    assert pulling.returncode == (1 if kind == signal.SIGINT else -kind)
    assert ("the same command goes on" in said) == (kind == signal.SIGINT)
    assert not (hub.folder() / "snapshots").exists()
    hub.gate.set()
    hub.forget()
    path = hub.pull(SMOL)
    assert 0 < hub.fetched() <= len(WEIGHTS) - 3 * 65536
    assert open(path, "rb").read() == WEIGHTS and len(blobs(hub)) == 1


def test_a_terminal_shows_a_bar_and_a_pipe_lines_without_escapes(hub):
    hub.bytes_per_second = 24 << 20
    ours, theirs = pty.openpty()
    pulling = subprocess.Popen(
        [str(BINARY), "pull", SMOL, "--connections", "1"],
        stdout=subprocess.DEVNULL, stderr=theirs, env=hub.environment | {"TERM": "xterm"},
    )
    os.close(theirs)
    shown = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            shown += os.read(ours, 4096)
        except OSError:  # the other side is closed
            break
    os.close(ours)
    assert pulling.wait(60) == 0
    text = shown.decode()
    assert re.search(r"\r" + SMOL + r"  \[#+-+\]  +\d+ %  \d+ MB of 42 MB  [\d.]+ MB/s  0:\d\d left\x1b\[K", text), text
    assert all(len(line) < 80 for line in re.split(r"\r|\n|\x1b\[K", text)[:-3])
    hub.mlxd("rm", SMOL)
    hub.bytes_per_second = 6 << 20
    piped = hub.mlxd("pull", SMOL, "--connections", "1")
    assert "\x1b" not in piped.stderr and "\r" not in piped.stderr
    assert re.search(rf"^{SMOL}: \d+ %, \d+ MB of 42 MB, [\d.]+ MB/s, 0:\d\d left$", piped.stderr, re.M), piped.stderr
