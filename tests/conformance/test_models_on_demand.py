"""Models that are loaded when somebody asks for them, and make room for others."""

import concurrent.futures
import json
import os
import random
import signal
import subprocess
import time
import urllib.request

import openai
import pytest
from conftest import BINARY, MODELS, SMOLLM2

MLX4 = MODELS / "SmolLM2-135M-Instruct-4bit"
NAMES = ["a", "b", "owner/c", "owner/d"]


@pytest.fixture
def folder(tmp_path):
    """Four models, of which two fit into a GiB, and what is none."""
    (tmp_path / "owner").mkdir()
    for name in ("a", "b", "owner/c"):
        (tmp_path / f"{name}.gguf").symlink_to(SMOLLM2)
    (tmp_path / "owner/d").symlink_to(MLX4)
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(20))
    (tmp_path / "notes.txt").write_text("no model")
    return tmp_path


@pytest.fixture
def start(start_server, folder):
    def start(*arguments, **options):
        return start_server("--model-folder", folder, "--max-memory-gb", 1, *arguments, model=None, **options)

    return start


def ask(server, model, prompt="The capital of France is", tokens=6):
    return server.client().completions.create(model=model, prompt=prompt, max_tokens=tokens, temperature=0)


def states(server):
    return {model["id"]: model["state"] for model in json.loads(server.get("/v1/admin/models")[1])["models"]}


def wait_for_state(server, model, state):
    deadline = time.monotonic() + 30
    while states(server)[model] != state:
        assert time.monotonic() < deadline, states(server)
        time.sleep(0.05)


def test_a_folder_is_listed_and_nothing_of_it_loaded(start):
    server = start()
    assert [model.id for model in server.client().models.list().data] == NAMES
    assert set(states(server).values()) == {"unloaded"}
    assert server.client().models.retrieve("owner/c").id == "owner/c"
    assert "broken is left out" in server.log()
    assert server.get("/health")[0] == 200


def test_each_is_loaded_for_who_asks_and_the_one_longest_unused_makes_room(start):
    server = start()
    for name in NAMES:
        assert ask(server, name).model == name
        assert states(server)[name] == "loaded"
    assert [name for name, state in states(server).items() if state == "loaded"] == NAMES[-2:]
    memory = json.loads(server.get("/v1/admin/models")[1])["memory"]
    assert 0 < memory["reserved_bytes"] <= memory["bound_bytes"] == 1 << 30


def test_all_dialects_wait_for_a_model(start):
    server = start()
    asked = [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}),
        ("/v1/messages", {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}),
        ("/v1/responses", {"input": "Hi", "max_output_tokens": 16}),
        ("/api/chat", {"messages": [{"role": "user", "content": "Hi"}], "stream": False}),
        ("/tokenize", {"content": "Hi"}),
        ("/v1/messages/count_tokens", {"messages": [{"role": "user", "content": "Hi"}]}),
    ]
    for i, (path, body) in enumerate(asked):
        status, _, answer = server.post(path, {"model": NAMES[i % 4], **body})
        assert status == 200, (path, answer)


def test_what_is_preloaded_stays(start):
    server = start("--preload-models", "a")
    assert states(server)["a"] == "loaded"
    for name in NAMES[1:]:
        ask(server, name)
    assert states(server)["a"] == "loaded"


def test_an_idle_model_is_let_go_and_a_stream_keeps_its_own(start):
    server = start("--model-ttl", 0.5)
    stream = server.client().completions.create(
        model="a", prompt="Once upon a time", max_tokens=400, temperature=0, stream=True
    )
    next(iter(stream))
    assert states(server)["a"] == "loaded"
    assert sum(1 for _ in stream) > 100
    wait_for_state(server, "a", "unloaded")
    assert "unloaded a" in server.log()


def test_ollamas_keep_alive_says_how_long_a_model_stays(start):
    server = start("--preload-models", "b")
    for model in ("a", "b"):
        status, _, body = server.post(
            "/api/generate",
            {"model": model, "prompt": "Once", "stream": False, "options": {"num_predict": 2}, "keep_alive": "0s"},
        )
        assert status == 200 and b'"response"' in body
    wait_for_state(server, "a", "unloaded")
    assert states(server)["b"] == "loaded", "it is to stay"
    ask(server, "a")
    status, _, body = server.post("/api/generate", {"model": "a", "keep_alive": 0, "stream": False})
    assert status == 200 and b'"unload"' in body
    wait_for_state(server, "a", "unloaded")


def test_aliases_name_local_models(start):
    server = start("--alias", "claude-*=b", "--alias", "gpt-4o=a")
    answer = server.post(
        "/v1/messages",
        {"model": "claude-opus-9", "max_tokens": 4, "messages": [{"role": "user", "content": "Hi"}]},
    )
    assert answer[0] == 200
    ask(server, "gpt-4o")
    assert {name for name, state in states(server).items() if state == "loaded"} == {"a", "b"}


def test_an_administrator_loads_and_unloads(start):
    server = start()
    status, _, body = server.post("/v1/admin/models/load", {"model": "b"})
    assert status == 200 and states(server)["b"] == "loaded"
    stream = server.client().completions.create(
        model="b", prompt="Once upon a time", max_tokens=2000, temperature=0, stream=True
    )
    next(iter(stream))
    status, _, body = server.post("/v1/admin/models/unload", {"model": "b"})
    assert status == 409 and b"is used by 1 requests" in body
    stream.close()
    server.wait_for_metric("mlxd_running_sequences", 0)
    deadline = time.monotonic() + 10
    while server.post("/v1/admin/models/unload", {"model": "b"})[0] == 409:
        assert time.monotonic() < deadline
    assert states(server)["b"] == "unloaded"
    for path in ("load", "unload"):
        assert server.post(f"/v1/admin/models/{path}", {"model": "nobody"})[0] == 404
        assert server.post(f"/v1/admin/models/{path}", {"name": "b"})[0] == 400


def test_ps_tells_what_is_loaded(start):
    def ps(*arguments):
        return subprocess.run([BINARY, "ps", *arguments], capture_output=True, text=True, timeout=60)

    server = start("--admin-key", "chief")
    ask(server, "a")
    refused = ps(server.url)
    assert refused.returncode == 1 and "--admin-key" in refused.stderr
    shown = ps(server.url, "--admin-key", "chief").stdout.splitlines()
    assert shown[0].split() == ["ID", "STATE", "MEMORY", "REQUESTS"]
    rows = {line.split()[0]: line.split()[1:] for line in shown[1:]}
    assert rows["a"][0] == "loaded" and rows["a"][-1] == "0" and rows["b"] == ["unloaded", "0"]
    models = json.loads(ps(server.url + "/", "--admin-key", "chief", "--json").stdout)["models"]
    assert [model["id"] for model in models] == NAMES
    server.stop()
    gone = ps(server.url)
    assert gone.returncode == 1 and "no server answers" in gone.stderr and "mlxd serve" in gone.stderr


def test_changes_are_told_as_events(start):
    server = start()
    with urllib.request.urlopen(server.url + "/v1/admin/events", timeout=30) as events:
        seen = []
        with concurrent.futures.ThreadPoolExecutor() as pool:
            load = pool.submit(server.post, "/v1/admin/models/load", {"model": "a"})
            while "loaded" not in seen:
                line = events.readline().decode()
                if line.startswith("data: "):
                    models = json.loads(line.removeprefix("data: "))["models"]
                    seen.append(next(model["state"] for model in models if model["id"] == "a"))
            assert load.result()[0] == 200
    assert seen[0] == "unloaded"


def test_only_the_administrators_key_administers(start):
    server = start("--api-key", "user", "--admin-key", "chief")
    body = {"model": "a"}
    for key, status in (("user", 401), ("chief", 200)):
        headers = {"Authorization": f"Bearer {key}"}
        assert server.post("/v1/admin/models/load", body, headers)[0] == status
    assert server.get("/v1/admin/models")[0] == 401
    assert server.post("/v1/completions", {"model": "a", "prompt": "Hi"}, {"Authorization": "Bearer chief"})[0] == 401
    closed = start("--api-key", "user")
    status, _, answer = closed.post("/v1/admin/models/load", body, {"Authorization": "Bearer user"})
    assert status == 403 and b"--admin-key" in answer


def test_a_model_without_room_is_refused_by_name(start_server, folder):
    server = start_server("--model-folder", folder, "--max-memory-gb", 0.05, model=None)
    assert "a takes" in server.log()
    status, _, body = server.post("/v1/completions", {"model": "a", "prompt": "Hi"})
    assert status == 503 and b"model_too_large" in body


def test_two_models_of_which_one_fits_take_turns(start_server, folder):
    """Who waited for a model gets it, though it is on its way out for the other by then."""
    server = start_server("--model-folder", folder, "--max-memory-gb", 0.5, model=None)
    expected = {name: ask(server, name).choices[0].text for name in ("a", "owner/d")}
    loads = server.log().count("loaded ")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        names = ["a", "owner/d"] * 20
        answers = list(pool.map(lambda name: ask(server, name).choices[0].text, names))
    assert answers == [expected[name] for name in names]
    assert server.log().count("loaded ") - loads <= 2 * len(names)  # with "unloaded": one each at most


def wait_until_it_is_to_leave(server, model):
    """A model that is to make room for another takes no new requests."""
    impatient = server.client(timeout=0.5, max_retries=0)
    deadline = time.monotonic() + 30
    with pytest.raises(openai.APITimeoutError):
        while time.monotonic() < deadline:
            impatient.completions.create(model=model, prompt="Hi", max_tokens=1)


def test_who_waits_for_a_model_is_answered_at_a_stop(start_server, folder):
    server = start_server("--model-folder", folder, "--max-memory-gb", 0.5, model=None)
    stream = server.client().completions.create(
        model="a", prompt="Once upon a time", max_tokens=1500, temperature=0, stream=True
    )
    next(iter(stream))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(server.post, "/v1/completions", {"model": "b", "prompt": "Hi"})
        wait_until_it_is_to_leave(server, "a")
        server.process.send_signal(signal.SIGTERM)
        status, _, body = waiting.result(timeout=20)
        assert status == 503 and b"server_stopping" in body
    assert sum(1 for _ in stream) > 100  # what runs ends as it should
    assert server.process.wait(timeout=30) == 0


def test_a_client_that_leaves_has_nothing_loaded(start_server, folder):
    server = start_server("--model-folder", folder, "--max-memory-gb", 0.5, model=None)
    stream = server.client().completions.create(
        model="a", prompt="Once upon a time", max_tokens=2500, temperature=0, stream=True
    )
    next(iter(stream))
    impatient = server.client(timeout=0.5, max_retries=0)
    with pytest.raises(openai.APITimeoutError):
        impatient.completions.create(model="b", prompt="Hi", max_tokens=1)
    ask(server, "a")  # it gives leases again
    stream.close()
    ask(server, "a")
    assert states(server)["b"] == "unloaded" and "loaded b" not in server.log()


def test_what_is_named_must_be_there(start_server, folder):
    command = [BINARY, "serve", "--model-folder", folder, "--alias", "gpt-4o=broken", "--port", "0"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1 and "broken.gguf" in result.stderr
    (folder / "aaa.gguf").write_bytes(b"GGUF" + bytes(20))  # the first by name, and left out
    server = start_server("--model-folder", folder, "--max-memory-gb", 1, model=None)
    assert server.post("/v1/completions", {"model": "default", "prompt": "Hi", "max_tokens": 1})[0] == 200


def test_prefixes_outlive_a_models_unloading(start, tmp_path):
    server = start("--prefix-cache-dir", tmp_path / "prefixes")
    prompt = "The sea is wide. " * 100
    first = ask(server, "a", prompt)
    for name in NAMES[1:]:
        ask(server, name)
    assert states(server)["a"] == "unloaded"
    again = ask(server, "a", prompt)
    assert again.choices[0].text == first.choices[0].text
    assert again.usage.prompt_tokens_details.cached_tokens > 300


def test_random_requests_loads_and_unloads_lose_no_answer(start, folder):
    server = start()
    expected = {name: ask(server, name).choices[0].text for name in NAMES}
    draw = random.Random(7)
    turns = [(draw.choice(NAMES), draw.random()) for _ in range(200)]
    hidden = folder / "hidden"

    def turn(model, what):
        if what < 0.1:
            return server.post("/v1/admin/models/unload", {"model": model})[0] in (200, 409)
        if what < 0.2:
            return server.post("/v1/admin/models/load", {"model": model})[0] == 200
        if what < 0.25:  # its file is away for a moment: whoever asks just then is told so
            try:
                os.rename(folder / "b.gguf", hidden)
                time.sleep(0.05)
                os.rename(hidden, folder / "b.gguf")
            except FileNotFoundError:
                pass  # another turn has it
            return True
        for _ in range(100):
            status, _, body = server.post(
                "/v1/completions",
                {"model": model, "prompt": "The capital of France is", "max_tokens": 6, "temperature": 0},
            )
            if status == 200:
                return json.loads(body)["choices"][0]["text"] == expected[model]
            assert status == 503 and model == "b" and b"model_failed" in body, body
            time.sleep(0.1)
        return False

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(turn, *zip(*turns)))
    assert all(outcomes), [turns[i] for i, good in enumerate(outcomes) if not good]
    memory = json.loads(server.get("/v1/admin/models")[1])["memory"]
    assert memory["reserved_bytes"] <= memory["bound_bytes"]
