"""Nothing is silently ignored: each bad value is a 400 that names its parameter."""

import json

import pytest

from conftest import MODEL

CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
COMPLETION = {"model": MODEL, "prompt": "Hi", "max_tokens": 1}

BOTH = [
    ("temperature", [-0.1, 2.1, "hot", True, [], 1e400]),
    ("top_p", [0, -1, 1.01, "x"]),
    ("top_k", [-2, 1.5, "x", 10**30]),
    ("min_p", [-0.1, 1.1, "x"]),
    ("seed", ["x", 1.5, 2**64, -(2**63) - 1]),
    ("stop", ["", [""], ["a"] * 17, 3, [1]]),
    ("presence_penalty", [-2.1, 2.1, "x"]),
    ("frequency_penalty", [-2.1, 2.1, "x"]),
    ("repetition_penalty", [0, -1, "x"]),
    ("logit_bias", [{"x": 1}, {"1": 101}, {"1": -101}, {"49152": 1}, {"-1": 1}, {"99999999999": 1}, [], {"1": "a"}]),
    ("n", [0, 9, 1.5, "x", -1, 10**12]),
    ("stream", [1, "yes"]),
    ("stream_options", [{"include_usage": 1}, {"unknown": True}, 3]),
    ("ignore_eos", [1, "x"]),
    ("min_tokens", [-1, "x", 5]),
    ("priority", [-1, 10, 1.5, "high", True]),
    ("timeout", [0, -1, "x", 1e9]),
    ("max_tokens", [-1, 1.5, "x", 10**12]),
    ("return_tokens_as_token_ids", [1]),
    ("model", [3, ""]),
    ("no_such_parameter", [1]),
    ("suffix", ["x"]),
    ("functions", [[{"name": ""}]]),
]
CHAT_ONLY = [
    ("messages", [[], "x", [3], [{"role": "wizard", "content": "x"}], [{"role": "user"}],
                  [{"role": "user", "content": 3}], [CHAT["messages"][0]] * 1025,
                  [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]]),
    ("logprobs", [1, "x"]),
    ("top_logprobs", [-1, 21, 1.5]),
    ("max_completion_tokens", [-1, "x"]),
    ("tools", [[{"type": "custom", "custom": {"name": "f"}}], [{"type": "function"}]]),
    ("tool_choice", ["required", {"type": "function", "function": {"name": "f"}}, "x"]),
    ("reasoning_effort", ["x"]),
    ("chat_template_kwargs", [[], {"messages": []}]),
    ("response_format", [{"type": "xml"}, 3]),
    ("prompt", ["x"]),
    ("echo", [True]),
    ("best_of", [0, 9, "x"]),
]
COMPLETION_ONLY = [
    ("prompt", [[], 3, [[]], ["a", 3], [49152], [-1], [[1], "a"], {}]),
    ("logprobs", [-1, 21, True, "x"]),
    ("echo", [1]),
    ("best_of", [0, 9, "x"]),
    ("messages", [[]]),
]


def cases(rows):
    return [(name, value) for name, values in rows for value in values]


def refuse(server, path, body, name):
    status, headers, answer = server.post(path, json.dumps(body).encode())
    error = json.loads(answer)["error"]
    unknown_model = name == "model" and isinstance(body.get("model"), str)
    assert status == (404 if unknown_model else 400), (body, status, error)
    assert set(error) == {"message", "type", "param", "code"}
    return status, error


@pytest.mark.parametrize("name,value", cases(BOTH + CHAT_ONLY), ids=lambda v: str(v)[:30])
def test_chat_refuses_and_names(server, name, value):
    status, error = refuse(server, "/v1/chat/completions", CHAT | {name: value}, name)
    if status == 400 and value != 1e400:
        assert error["param"].split("[")[0].split(".")[0] == name, error
        assert name in error["message"], error


@pytest.mark.parametrize("name,value", cases(BOTH + COMPLETION_ONLY), ids=lambda v: str(v)[:30])
def test_completions_refuse_and_name(server, name, value):
    status, error = refuse(server, "/v1/completions", COMPLETION | {name: value}, name)
    if status == 400 and value != 1e400:
        assert error["param"].split("[")[0].split(".")[0] == name, error
        assert name in error["message"], error


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_what_is_required_is_asked_for(server, missing):
    body = {k: v for k, v in CHAT.items() if k != missing}
    status, error = refuse(server, "/v1/chat/completions", body, missing)
    assert status == 400 and error["param"] == missing


@pytest.mark.parametrize(
    "extra",
    [
        {"user": "someone", "metadata": {"a": "b"}, "store": False, "service_tier": "auto"},
        {"safety_identifier": "x", "prompt_cache_key": "y"},
        {"temperature": None, "stop": None, "seed": None, "tools": None, "unknown": None},
        {"temperature": 0, "top_k": 0, "min_p": 0, "top_p": 1, "priority": 9},
        {"messages": [{"role": "developer", "content": [{"type": "text", "text": "a"}]}] + CHAT["messages"]},
    ],
    ids=str,
)
def test_what_carries_no_behaviour_is_accepted(server, extra):
    status, _, answer = server.post("/v1/chat/completions", CHAT | extra)
    assert status == 200, answer


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"3", b'{"a":1,"a":2}', b"\xff\xfe", b'{"model": "\xff"}', b"[" * 5000, b'{"model": "\\ud800"}'],
)
def test_a_body_that_is_no_json_object_is_refused(server, body):
    status, _, answer = server.post("/v1/chat/completions", body)
    assert status == 400
    assert json.loads(answer)["error"]["message"]


def test_an_unknown_model_is_404(server):
    status, _, answer = server.post("/v1/chat/completions", CHAT | {"model": "gpt-4"})
    assert status == 404
    assert json.loads(answer)["error"]["code"] == "model_not_found"
    assert MODEL in json.loads(answer)["error"]["message"]


def test_lenient_names_what_it_ignores(start_server):
    server = start_server("--lenient")
    status, headers, _ = server.post("/v1/chat/completions", CHAT | {"no_such_parameter": 1})
    assert status == 200
    assert headers["x-mlxd-ignored"] == "no_such_parameter"
