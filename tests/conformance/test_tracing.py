"""Traces of requests at an OpenTelemetry collector."""

import importlib
import json
import pkgutil
import socket
import time

import opentelemetry.semconv as conventions
import pytest
from collector import Collector
from conftest import MODEL, MODELS, SMOLLM2

MINILM = MODELS / "all-MiniLM-L6-v2"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
QUICK = {"OTEL_BSP_SCHEDULE_DELAY": "50"}


@pytest.fixture(scope="module")
def collector():
    running = Collector()
    yield running
    running.close()


@pytest.fixture(scope="module")
def traced(collector, module_server):
    environment = QUICK | {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=one%20two",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
    }
    return module_server("--model", f"minilm={MINILM}", environment=environment)


@pytest.fixture(scope="module")
def module_server():
    from conftest import Server

    started = []

    def start(*arguments, **options):
        started.append(Server(*arguments, **options))
        return started[-1]

    yield start
    for running in started:
        assert running.stop() == 0, running.log()


def chat(**options):
    messages = [{"role": "user", "content": "The secret word is xylophone. Name three fruits."}]
    return {"model": MODEL, "messages": messages, "max_tokens": 8, "temperature": 0} | options


def post(server, path="/v1/chat/completions", body=None, **headers):
    """(status, id of the request, body)"""
    status, answered, text = server.post(path, chat() if body is None else body, headers)
    return status, answered["x-request-id"], text


def usage_of(text):
    """That of a whole answer, or of a stream."""
    if not text.startswith(b"data: "):
        return json.loads(text)["usage"]
    chunks = [json.loads(line[6:]) for line in text.splitlines() if line.startswith(b"data: {")]
    return next(chunk["usage"] for chunk in reversed(chunks) if chunk.get("usage"))


def known_names():
    """Every attribute that OpenTelemetry's conventions have, and the beginnings of open ones."""
    names, templates = set(), set()
    for package in (conventions, importlib.import_module("opentelemetry.semconv._incubating")):
        for module in pkgutil.iter_modules([package.__path__[0] + "/attributes"]):
            attributes = vars(importlib.import_module(f"{package.__name__}.attributes.{module.name}"))
            names |= {v for k, v in attributes.items() if k.isupper() and isinstance(v, str)}
            templates |= {v + "." for k, v in attributes.items() if k.endswith("_TEMPLATE")}
    return names, tuple(templates)


def assert_tiled(request, parts):
    """Parts are in the request's time, one after the other."""
    times = sorted((part.begin, part.end) for part in parts.values())
    bounds = [request.begin, *[time for pair in times for time in pair], request.end]
    assert bounds == sorted(bounds)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_is_a_span_by_the_conventions(traced, collector, stream):
    before = time.time_ns()
    options = {"stream_options": {"include_usage": True}} if stream else {}
    status, id, text = post(traced, body=chat(stream=stream, ignore_eos=True, **options))
    after = time.time_ns()
    assert status == 200
    usage = usage_of(text)
    request, parts = collector.trace_of(id)
    assert request.name == f"chat {MODEL}"
    assert request.kind == "SPAN_KIND_SERVER"
    assert request.status == "STATUS_CODE_UNSET"
    assert request.is_sampled and not request.parent and not request.parent_is_remote
    assert before <= request.begin < request.end
    assert request.begin <= after
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "mlxd",
        "gen_ai.request.model": MODEL,
        "gen_ai.response.model": MODEL,
        "gen_ai.request.stream": stream,
        "gen_ai.usage.input_tokens": usage["prompt_tokens"],
        "gen_ai.usage.output_tokens": usage["completion_tokens"],
        "gen_ai.response.finish_reasons": ["length"],
        "http.request.method": "POST",
        "http.route": "/v1/chat/completions",
        "http.response.status_code": 200,
    }
    assert {name: request.attributes.get(name) for name in expected} == expected
    assert "error.type" not in request.attributes
    assert set(parts) == {"queue", "prefill", "decode"}
    assert_tiled(request, parts)
    assert {part.kind for part in parts.values()} == {"SPAN_KIND_INTERNAL"}
    assert f"trace={request.trace_id}" in next(line for line in traced.lines if id in line)
    names, templates = known_names()
    for name in request.attributes:
        assert name in names or name.startswith(templates), f"{name} is no name of OpenTelemetry"


def test_the_resource_and_the_headers_are_as_the_variables_say(traced, collector):
    _, id, _ = post(traced)
    request, _ = collector.trace_of(id)
    assert request.resource == {"service.name": "mlxd", "deployment.environment.name": "test"}
    assert request.scope.name == "mlxd"
    assert request.scope.version == json.loads(traced.get("/version")[1])["version"]
    path, headers, _, _ = collector.requests[-1]
    assert path == "/v1/traces"
    assert headers["Content-Type"] == "application/json"
    assert headers["x-tenant"] == "one two"


@pytest.mark.parametrize(
    "path,body,operation",
    [
        ("/v1/completions", {"model": MODEL, "prompt": "Hello", "max_tokens": 2}, "text_completion"),
        ("/v1/messages", chat(), "chat"),
        ("/v1/responses", {"model": MODEL, "input": "Hello", "max_output_tokens": 2}, "chat"),
        ("/api/chat", {"model": MODEL, "messages": chat()["messages"], "options": {"num_predict": 2}}, "chat"),
        ("/v1/embeddings", {"model": "minilm", "input": "Hello"}, "embeddings"),
    ],
)
def test_every_dialect_is_traced(traced, collector, path, body, operation):
    status, id, text = post(traced, path, body)
    assert status == 200, text
    request, parts = collector.trace_of(id)
    assert request.name == f"{operation} {body['model']}"
    assert request.attributes["http.route"] == path
    assert request.attributes["gen_ai.usage.input_tokens"] > 0
    assert ("decode" in parts) == (operation != "embeddings")
    assert_tiled(request, parts)


def test_an_error_is_told_by_its_code(traced, collector):
    status, id, _ = post(traced, body=chat(model="none"))
    assert status == 404
    request, parts = collector.trace_of(id)
    assert request.name == "chat"
    assert request.attributes["error.type"] == "model_not_found"
    assert request.attributes["gen_ai.request.model"] == "none"
    assert request.attributes["http.response.status_code"] == 404
    assert request.status == "STATUS_CODE_UNSET"  # a client's mistake, as HTTP servers have it
    assert parts == {}

    status, id, _ = post(traced, body=chat(timeout=0.001, max_tokens=500))
    assert status == 504
    request, _ = collector.trace_of(id)
    assert request.attributes["error.type"] == "timeout"
    assert request.status == "STATUS_CODE_ERROR"


def test_a_client_that_leaves_ends_its_span(traced, collector):
    body = json.dumps(chat(stream=True, max_tokens=2000, ignore_eos=True)).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"x-request-id: leaves\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", traced.port)) as client:
        client.sendall(head.encode() + body)
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    request, parts = collector.trace_of("leaves")
    assert request.attributes["error.type"] == "cancelled"
    assert request.status == "STATUS_CODE_UNSET"
    assert set(parts) <= {"queue_and_prefill", "decode"}
    assert_tiled(request, parts)


def test_a_callers_trace_goes_on(traced, collector):
    _, id, _ = post(traced, traceparent=f"00-{TRACE}-{PARENT}-01", tracestate="congo=t61rcWkgMzE")
    request, parts = collector.trace_of(id)
    assert (request.trace_id, request.parent) == (TRACE, PARENT)
    assert request.parent_is_remote
    assert request.trace_state == "congo=t61rcWkgMzE"
    assert {part.trace_id for part in parts.values()} == {TRACE}
    assert not any(part.parent_is_remote for part in parts.values())


def test_what_a_caller_does_not_record_is_not_recorded_here(traced, collector):
    _, unsampled, _ = post(traced, traceparent=f"00-{TRACE}-{PARENT}-00")
    _, id, _ = post(traced)
    collector.trace_of(id)  # came later, and so would be here later
    assert unsampled not in json.dumps([span.attributes for span in collector.spans])
    assert "trace=" not in next(line for line in traced.lines if unsampled in line)


@pytest.mark.parametrize(
    "header", ["", "00", f"00-{TRACE}-{PARENT}", f"ff-{TRACE}-{PARENT}-01", f"00-{'0' * 32}-{PARENT}-01"]
)
def test_a_malformed_traceparent_is_as_none(traced, collector, header):
    status, id, _ = post(traced, traceparent=header, tracestate="a=1")
    assert status == 200
    request, _ = collector.trace_of(id)
    assert request.trace_id != TRACE and not request.parent
    assert request.trace_state == ""


def test_no_prompt_and_no_answer_is_told(traced, collector):
    _, id, text = post(traced)
    collector.trace_of(id)
    answer = json.loads(text)["choices"][0]["message"]["content"]
    told = b"".join(body for _, _, body, _ in collector.requests).decode()
    assert id in told
    assert "xylophone" not in told and answer not in told


def test_a_model_that_is_loaded_on_demand_has_a_span(collector, start_server, tmp_path):
    (tmp_path / "small.gguf").symlink_to(SMOLLM2)
    server = start_server(
        "--model-folder", tmp_path, "--otlp-endpoint", collector.url + "/", model=None, environment=QUICK
    )
    _, id, _ = post(server, body=chat(model="small"))
    request, parts = collector.trace_of(id)
    assert set(parts) == {"load_model", "queue", "prefill", "decode"}
    assert_tiled(request, parts)
    _, id, _ = post(server, body=chat(model="small"))
    assert "load_model" not in collector.trace_of(id)[1]


def test_a_collector_that_is_busy_is_asked_again_when_it_says(start_server):
    collector = Collector()
    collector.answers = [(503, {"Retry-After": "1"}), (429, {"Retry-After": "1"})]
    server = start_server("--otlp-endpoint", collector.url, environment=QUICK)
    _, id, _ = post(server)
    collector.trace_of(id)
    first, second, third = collector.requests[:3]
    assert first[2] == second[2] == third[2]
    assert second[3] - first[3] >= 1 and third[3] - second[3] >= 1
    server.wait_for_metric("mlxd_trace_spans_total", 4)  # all exported, none dropped
    assert server.metric("mlxd_trace_spans_total", outcome="dropped") == 0
    collector.close()


def test_spans_that_are_left_are_sent_at_the_end(start_server):
    collector = Collector()
    server = start_server(
        "--otlp-endpoint", collector.url, environment={"OTEL_BSP_SCHEDULE_DELAY": "600000"}
    )
    _, id, _ = post(server)
    assert collector.requests == []
    assert server.stop() == 0
    assert len(collector.requests) == 1
    collector.trace_of(id)
    collector.close()


@pytest.mark.parametrize("silent", [False, True])
def test_a_collector_that_is_not_there_costs_nothing_but_a_line(start_server, silent):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if silent:
            listener.listen()  # and never accepts: a connection, and no answer
        server = start_server(
            "--otlp-endpoint",
            f"http://user:hidden@127.0.0.1:{listener.getsockname()[1]}",
            environment=QUICK | {"OTEL_BSP_MAX_QUEUE_SIZE": "16", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4"},
        )
        for _ in range(12):
            assert post(server)[0] == 200
        # A batch is tried, 16 spans wait, and what is more has no place: 48 are too many.
        dropped = server.metric("mlxd_trace_spans_total", outcome="dropped")
        assert dropped >= 48 - 4 - 16
        begin = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begin < 10
        lines = [line for line in server.lines if "spans of traces are not taken" in line]
        assert len(lines) == 1
        assert "hidden" not in server.log()


def test_sampling_is_as_the_variables_say(start_server, collector):
    environment = QUICK | {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": collector.url + "/v1/traces",
        "OTEL_TRACES_SAMPLER": "parentbased_always_off",
    }
    server = start_server(environment=environment)
    _, unsampled, _ = post(server)
    _, id, _ = post(server, traceparent=f"00-{TRACE}-{PARENT}-01")
    collector.trace_of(id)
    assert unsampled not in json.dumps([span.attributes for span in collector.spans])


def test_without_an_endpoint_there_is_no_trace_of_tracing(server):
    status, answered, _ = server.post(
        "/v1/chat/completions", chat(), {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    )
    assert status == 200
    assert "traceparent" not in answered
    assert "mlxd_trace_spans_total" not in server.get("/metrics")[1]
    assert "trace=" not in server.log()


def test_an_endpoint_that_is_none_is_refused(start_server):
    with pytest.raises(RuntimeError, match='--otlp-endpoint is "localhost:4318"; it must be'):
        start_server("--otlp-endpoint", "localhost:4318")
