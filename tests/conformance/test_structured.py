"""Answers that are held to a schema, a pattern or a grammar are of it, however they are made."""

import concurrent.futures
import json
import random
import re

import jsonschema
import openai
import pytest

from conftest import MODEL

# Of what people ask for: nested objects, enumerations, bounds, optional members, references.
SCHEMAS = [
    {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 20},
            "age": {"type": "integer", "minimum": 0, "maximum": 150},
            "email": {"type": "string", "pattern": "^[a-z]{1,8}@[a-z]{1,8}\\.(com|org)$"},
        },
        "required": ["name", "age", "email"],
        "additionalProperties": False,
    },
    {
        "type": "array",
        "minItems": 1,
        "maxItems": 3,
        "items": {"enum": ["red", "green", "blue", 7, None]},
    },
    {
        "$defs": {
            "place": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "maxLength": 12},
                    "kind": {"const": "home"},
                },
                "required": ["city", "kind"],
                "additionalProperties": False,
            }
        },
        "type": "object",
        "properties": {
            "where": {"$ref": "#/$defs/place"},
            "when": {"type": "string", "format": "date"},
            "sure": {"type": "boolean"},
            "share": {"anyOf": [{"type": "null"}, {"type": "number", "minimum": 0, "maximum": 1}]},
        },
        "required": ["where", "when", "share"],
        "additionalProperties": False,
    },
]


def ask(client, schema, seed, **options):
    return client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": f"Write some JSON about number {seed}."}],
        temperature=1,
        seed=seed,
        max_tokens=200,
        response_format={"type": "json_schema", "json_schema": {"name": "it", "schema": schema}},
        **options,
    )


def check(answer, schema):
    for choice in answer.choices:
        assert choice.finish_reason == "stop", choice
        jsonschema.validate(json.loads(choice.message.content), schema)


def test_every_answer_is_valid_alone_among_sixteen_and_in_several_samples(server):
    client = server.client()
    jobs = [(SCHEMAS[seed % len(SCHEMAS)], seed) for seed in range(24)]
    alone = [ask(client, schema, seed) for schema, seed in jobs]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda job: ask(client, *job, n=3), jobs))
    for (schema, _), one, three in zip(jobs, alone, together):
        check(one, schema)
        check(three, schema)
        first = next(choice for choice in three.choices if choice.index == 0)
        assert one.choices[0].message.content == first.message.content


def test_answers_are_the_same_with_little_memory_and_without_drafts(server, start_server):
    jobs = [(SCHEMAS[seed % len(SCHEMAS)], seed) for seed in range(16)]

    def texts(client):
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda job: ask(client, *job), jobs))
        return [answer.choices[0].message.content for answer in answers]

    expected = texts(server.client())
    tight = start_server("--kv-cache-gb", "0.006", "--max-draft-tokens", "0")
    for _ in range(10):  # until enough of them came together
        assert texts(tight.client()) == expected
        if tight.metric("mlxd_preemptions_total") > 0:
            return
    raise AssertionError("nothing was ever preempted")


def test_a_stream_put_together_is_the_whole_answer(server):
    client = server.client()
    for seed, schema in enumerate(SCHEMAS):
        whole = ask(client, schema, seed).choices[0].message.content
        parts = [
            chunk.choices[0].delta.content or ""
            for chunk in ask(client, schema, seed, stream=True)
            if chunk.choices
        ]
        assert "".join(parts) == whole
        assert len(parts) > 5, "it comes as it is made"


def complete(server, **fields):
    status, _, body = server.post(
        "/v1/completions",
        {"model": MODEL, "prompt": "It is", "max_tokens": 60, "seed": 3, "temperature": 1} | fields,
    )
    return status, json.loads(body)


@pytest.mark.parametrize(
    "fields, pattern",
    [
        ({"guided_regex": "[A-Z][a-z]{2,5}-[0-9]{3}"}, "[A-Z][a-z]{2,5}-[0-9]{3}"),
        ({"guided_choice": ["a cat", "a dog", 'a "bird"']}, 'a cat|a dog|a "bird"'),
        ({"grammar": 'root ::= "<" [a-f]{4} ">" "!"?'}, "<[a-f]{4}>!?"),
        ({"guided_grammar": 'start: "x" /[0-9]{2}/ "y"'}, "x[0-9]{2}y"),
        ({"structured_outputs": {"regex": "(ab){2}"}}, "abab"),
        ({"structured_outputs": {"choice": ["yes", "no"]}}, "yes|no"),
        ({"structured_outputs": {"json": {"enum": [1, 2]}}}, "1|2"),
        ({"guided_json": json.dumps({"const": "x"})}, '"x"'),
        ({"json_schema": {"type": "boolean"}}, "true|false"),
        ({"response_format": {"type": "json_object", "schema": {"type": "null"}}}, "null"),
    ],
)
def test_each_spelling_holds_the_answer_to_it(server, fields, pattern):
    status, answer = complete(server, **fields)
    assert status == 200, answer
    choice = answer["choices"][0]
    assert re.fullmatch(pattern, choice["text"]), choice
    assert choice["finish_reason"] == "stop"


def test_an_answer_that_is_cut_says_so_and_any_object_is_one(server):
    _, answer = complete(server, guided_regex="[a-z]{500}", max_tokens=20)
    assert answer["choices"][0]["finish_reason"] == "length"
    _, answer = complete(server, response_format={"type": "json_object"}, max_tokens=500)
    if answer["choices"][0]["finish_reason"] == "stop":
        assert isinstance(json.loads(answer["choices"][0]["text"]), dict)
    _, answer = complete(server, response_format={"type": "text"})
    assert answer["choices"][0]["text"]


@pytest.mark.parametrize(
    "fields, param, words",
    [
        ({"guided_json": {"not": {}}}, "guided_json", '"not"'),
        ({"guided_regex": "(a"}, "guided_regex", "unclosed group"),
        ({"grammar": "root ::= x"}, "grammar", "rule 'x'"),
        ({"guided_json": {}, "guided_regex": "a"}, "guided_regex", "'guided_json'"),
        ({"guided_choice": []}, "guided_choice", "array of strings"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "'xml'"),
        ({"response_format": {"type": "json_schema"}}, "response_format", "json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
            "response_format.json_schema",
            "'schema'",
        ),
        ({"structured_outputs": {"yaml": 1}}, "structured_outputs.yaml", "not a parameter"),
        ({"guided_json": False}, "guided_json", "no text fulfils it"),
    ],
)
def test_what_cannot_be_enforced_is_refused_by_name(server, fields, param, words):
    status, answer = complete(server, **fields)
    assert status == 400
    assert answer["error"]["param"] == param
    assert words in answer["error"]["message"]


def test_the_official_client_parses_an_answer_into_its_own_type(server):
    pydantic = pytest.importorskip("pydantic")

    class Step(pydantic.BaseModel):
        title: str = pydantic.Field(max_length=20)
        minutes: int = pydantic.Field(ge=1, le=60)

    class Plan(pydantic.BaseModel):
        steps: list[Step] = pydantic.Field(min_length=1, max_length=2)

    answer = server.client().chat.completions.parse(
        model=MODEL,
        messages=[{"role": "user", "content": "Plan a walk."}],
        response_format=Plan,
        seed=1,
        max_tokens=300,
    )
    assert isinstance(answer.choices[0].message.parsed, Plan)


def test_random_schemas_are_fulfilled(server):
    generator = random.Random(7)

    def random_schema(depth):
        kinds = ["string", "integer", "boolean", "null", "enum", "number"]
        kind = generator.choice(kinds + (["object", "array", "anyOf"] if depth < 3 else []))
        if kind == "enum":
            return {"enum": generator.sample(["a", 1, None, True, {"b": 2}, [3], "\n"], 3)}
        if kind == "string":
            return {"type": "string", "maxLength": generator.randint(1, 9)}
        if kind == "integer":
            low = generator.randint(-1000, 1000)
            return {"type": "integer", "minimum": low, "maximum": low + generator.randint(0, 99)}
        if kind == "number":
            return {"type": "number", "minimum": -1, "exclusiveMaximum": 1}
        if kind == "anyOf":
            return {"anyOf": [random_schema(depth + 1) for _ in range(2)]}
        if kind == "array":
            most = generator.randint(1, 3)
            return {"type": "array", "items": random_schema(depth + 1), "maxItems": most}
        if kind == "object":
            names = generator.sample(["id", "Name", "a b", 'q"', "\u00e9", "x.y"], 3)
            return {
                "type": "object",
                "properties": {name: random_schema(depth + 1) for name in names},
                "required": names[: generator.randint(0, 3)],
                "additionalProperties": False,
            }
        return {"type": kind}

    client = server.client()
    jobs = [(random_schema(0), seed) for seed in range(60)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda job: ask(client, *job), jobs))
    finished = 0
    for (schema, _), answer in zip(jobs, answers):
        # Numbers have no end of their own: such an answer may be cut.
        if answer.choices[0].finish_reason == "stop":
            finished += 1
            jsonschema.validate(json.loads(answer.choices[0].message.content), schema)
    assert finished > 50
