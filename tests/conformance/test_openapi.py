"""What GET /openapi.json says is so: it is a valid document, of every endpoint, and whatever is sent by
it or against it is answered as it says. MLXD_SCHEMATHESIS_RUNS sets how many requests of each
operation are made up.
"""

import collections
import copy
import json
import os
import urllib.request

import hypothesis
import jsonschema
import pytest
import schemathesis
from conftest import MODEL, MODELS, Server
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis import GenerationMode

RUNS = int(os.environ.get("MLXD_SCHEMATHESIS_RUNS", 12))
EMBEDDER = "minilm"
schemathesis.checks.load_all_checks()
CHECKS = schemathesis.checks.CHECKS.get_by_names(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    ]
)


@pytest.fixture(scope="module")
def both():
    """A server of a model that answers and of one that embeds."""
    running = Server("--model", f"{EMBEDDER}={MODELS / 'all-MiniLM-L6-v2'}", "--context", 512)
    yield running
    assert running.process.poll() is None, "the server died:\n" + running.log()
    assert running.stop() == 0, running.log()


@pytest.fixture(scope="module")
def document(both):
    return json.loads(both.get("/openapi.json")[1])


def operations(document):
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def references(value):
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"].rsplit("/", 1)[1]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def reached(schemas, value):
    """The names of the schemas that `value` refers to, and those refer to."""
    found, new = set(), set(references(value))
    while new:
        found |= new
        new = {name for each in new for name in references(schemas.get(each, {}))} - found
    return found


def forbid_others(schema):
    """Allows an object no members but those that are described."""
    if isinstance(schema, list):
        for each in schema:
            forbid_others(each)
    elif isinstance(schema, dict):
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
        for each in schema.values():
            forbid_others(each)


@pytest.fixture(scope="module")
def strict(document):
    """The document with answers that have nothing that it does not tell."""
    out = copy.deepcopy(document)
    schemas = out["components"]["schemas"]
    asked = reached(schemas, [operation.get("requestBody") for _, _, operation in operations(out)])
    for name in schemas.keys() - asked - {"Document"}:
        forbid_others(schemas[name])
    return out


def test_the_document_is_valid(document):
    assert not list(OpenAPIV31SpecValidator(document).iter_errors())


def test_the_document_has_every_endpoint(both, document):
    for endpoint in json.loads(both.get("/")[1])["endpoints"]:
        method, path = endpoint.split(" ")
        if path.startswith("/assets/"):
            continue  # files of the page
        path = path.replace("*", "{id}")
        assert method.lower() in document["paths"].get(path, {}), endpoint


def test_the_document_needs_no_key(start_server):
    server = start_server("--api-key", "secret")
    assert server.get("/openapi.json")[0] == 200
    assert server.get("/version")[0] == 401


# A request that is whole, by the schema of its body.
WHOLE = {
    "ChatRequest": {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]},
    "ChatQuestion": {"messages": [{"role": "user", "content": "Hi"}]},
    "CompletionRequest": {"model": MODEL, "prompt": "Hi"},
    "ResponseRequest": {"model": MODEL, "input": "Hi"},
    "EmbeddingRequest": {"model": EMBEDDER, "input": "Hi"},
    "RerankRequest": {"model": EMBEDDER, "query": "Hi", "documents": ["Hello", "Bye"]},
    "ScoreRequest": {"model": EMBEDDER, "text_1": "Hi", "documents": ["Hello", "Bye"]},
    "MessageRequest": {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4},
    "MessageQuestion": {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]},
    "OllamaChatRequest": {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "stream": False},
    "OllamaTextRequest": {"model": MODEL, "prompt": "Hi", "stream": False},
    "OllamaEmbedRequest": {"model": EMBEDDER, "input": ["Hi", "Hello"]},
    "OllamaEmbeddingRequest": {"model": EMBEDDER, "prompt": "Hi"},
    "OllamaShowRequest": {"model": MODEL},
    "TokenizeRequest": {"content": "Hi"},
    "DetokenizeRequest": {"tokens": [1, 2]},
    "TokenizerInfoRequest": {},
}
NEEDED = [name for name, body in WHOLE.items() if body]


def few_tokens(body, path):
    """Bounds the answer to a request, so that no test takes long."""
    if path.startswith("/api/"):
        options = body.setdefault("options", {})
        if isinstance(options, dict):
            options["num_predict"] = 4
        return
    name = "max_output_tokens" if path == "/v1/responses" else "max_tokens"
    if not isinstance(body.get(name), int) or body[name] > 4:
        body[name] = 4


def requests_of(document):
    for method, path, operation in operations(document):
        if "requestBody" in operation and operation["tags"] != ["admin"]:  # they have a key
            [name] = references(operation["requestBody"])
            yield path, operation, name


def validator(document, name):
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    return jsonschema.Draft202012Validator(schema)


def test_a_request_that_lacks_a_required_field_is_refused(both, document):
    """And one that has them all is valid, and answered as is said."""
    for path, operation, name in requests_of(document):
        whole = dict(WHOLE[name])
        validator(document, name).validate(whole)
        if operation["responses"]["200"]["content"].keys() > {"application/json"}:
            few_tokens(whole, path)
        status, _, answer = both.post(path, whole)
        assert status == 200, (path, answer)
        for field in document["components"]["schemas"][name].get("required", []):
            less = {key: value for key, value in whole.items() if key != field}
            assert not validator(document, name).is_valid(less)
            status, _, answer = both.post(path, less)
            assert status in (400, 404), (path, field, answer)  # 404: Ollama's of no model


def chunks(text):
    """The JSON of a stream's events or lines."""
    for line in text.splitlines():
        line = line.removeprefix("data: ")
        if line.startswith("{"):
            yield json.loads(line)


def test_the_parts_of_a_stream_are_what_is_said(both, strict):
    more = {
        "/v1/chat/completions": {
            "logprobs": True,
            "top_logprobs": 2,
            "stream_options": {"include_usage": True},
            "return_progress": True,
        },
        "/v1/completions": {"logprobs": 2, "echo": True, "stream_options": {"continuous_usage_stats": True}},
        "/v1/responses": {"include": ["message.output_text.logprobs"]},
        "/api/chat": {"logprobs": True},
    }
    streams = 0
    for path, operation, name in requests_of(strict):
        content = operation["responses"]["200"]["content"]
        for kind in content.keys() & {"text/event-stream", "application/x-ndjson"}:
            body = WHOLE[name] | {"stream": True} | more.get(path, {})
            few_tokens(body, path)
            status, headers, answer = both.post(path, body)
            assert status == 200 and headers["content-type"].split(";")[0] == kind, (path, answer)
            [part] = references(content[kind]["x-item-schema"])
            parts = list(chunks(answer.decode()))
            assert len(parts) > 2
            for each in parts:
                validator(strict, part).validate(each)
            streams += 1
    assert streams == 6


def bounded(case):
    """The same request, of a model that is served and of few tokens."""
    body = case.body
    if isinstance(body, dict):
        if isinstance(body.get("model"), str):
            pooled = any(word in case.path for word in ("embed", "rerank", "score"))
            body["model"] = EMBEDDER if pooled else MODEL
        body.pop("timeout", None)  # one that is short ends with a 504, as it should
        if len(case.operation.definition.raw["responses"]["200"]["content"]) > 1:
            few_tokens(body, case.path)
    return case


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_whatever_is_sent_is_answered_as_is_said(both, strict, mode):
    """`mode`: by the schema, or against it."""
    api = schemathesis.openapi.from_dict(strict)
    api.config.update(base_url=both.url, request_timeout=60)
    statuses = collections.Counter()
    for found in api.get_all_operations():
        operation = found.ok()
        [streamed_error] = references(operation.definition.raw["responses"]["default"]["content"])
        if mode is GenerationMode.NEGATIVE and "requestBody" not in operation.definition.raw:
            continue
        if list(operation.definition.raw["responses"]["200"]["content"]) == ["text/event-stream"]:
            continue  # events until the client goes

        @hypothesis.settings(
            max_examples=RUNS,
            deadline=None,
            database=None,
            derandomize="MLXD_SCHEMATHESIS_RUNS" not in os.environ,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(operation.as_strategy(generation_mode=mode))
        def answered(case):
            answer = bounded(case).call_and_validate(checks=CHECKS)
            statuses[operation.path, answer.status_code] += 1
            content = operation.definition.raw["responses"]["200"]["content"]
            kind = answer.headers["content-type"][0].split(";")[0]
            for part in references(content.get(kind, {}).get("x-item-schema", [])):
                for each in chunks(answer.text):
                    validator(strict, part if "error" not in each else streamed_error).validate(each)

        answered()
    print(sorted(statuses.items()))
    if mode is GenerationMode.POSITIVE:  # not all that fits the schema makes sense, but much does
        assert sum(n for (_, status), n in statuses.items() if status == 200) > statuses.total() / 3
