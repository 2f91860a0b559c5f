"""The Python module of the wheel, with the real binary and the real model."""

import json
import sys
import urllib.request

import pytest

from conftest import BINARY, MODEL, ROOT, SMOLLM2

sys.path.insert(0, str(ROOT / "packaging/python"))
import mlxd  # noqa: E402


@pytest.fixture(autouse=True)
def the_binary_of_this_build(monkeypatch):
    monkeypatch.setenv("MLXD_BINARY", str(BINARY))


def ask(url):
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
    request = urllib.request.Request(
        url + "/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


def test_a_with_block_has_a_server_and_ends_it():
    with mlxd.serve(model=f"{MODEL}={SMOLLM2}", no_web=True, context=512) as server:
        assert server.returncode is None
        assert ask(server.url)["usage"]["completion_tokens"] > 0
    assert server.returncode == 0
    with pytest.raises(OSError):
        ask(server.url)


def test_it_is_found_whatever_the_log_is_like(monkeypatch):
    monkeypatch.setenv("MLXD_LOG_FORMAT", "json")
    monkeypatch.setenv("MLXD_LOG_LEVEL", "error")
    with mlxd.serve(model=SMOLLM2) as server:
        assert server.url.removeprefix("http://127.0.0.1:").isdigit()
    with pytest.raises(ValueError, match="log_level"):
        mlxd.serve(model=SMOLLM2, log_level="warning")


def test_two_servers_do_not_meet():
    with mlxd.serve(model=SMOLLM2) as one, mlxd.serve(model=[SMOLLM2]) as two:
        assert one.url != two.url


def test_an_error_in_the_block_ends_the_server_too():
    with pytest.raises(ZeroDivisionError):
        with mlxd.serve(model=SMOLLM2) as server:
            1 / 0
    assert server.returncode == 0


def test_a_server_that_does_not_start_says_why():
    with pytest.raises(mlxd.MlxdError, match="none.gguf"):
        mlxd.serve(model="/nowhere/none.gguf")
    with pytest.raises(mlxd.MlxdError, match="--treads"):
        mlxd.serve(model=SMOLLM2, treads=2)


def test_a_server_that_takes_too_long_is_ended(monkeypatch, tmp_path):
    program = tmp_path / "mlxd"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setenv("MLXD_BINARY", str(program))
    with pytest.raises(mlxd.MlxdError, match="0.2 seconds"):
        mlxd.serve(model=SMOLLM2, start_timeout=0.2)


def test_without_a_program_it_says_so(monkeypatch, tmp_path):
    monkeypatch.delenv("MLXD_BINARY")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(mlxd.MlxdError, match="MLXD_BINARY"):
        mlxd.binary()
