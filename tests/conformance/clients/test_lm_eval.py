"""The LM evaluation harness with a task of its own making, in completions and in chats.

The harness computes log-probabilities of choices by completions with `echo`, and asks the server
itself for tokens (`/tokenizer_info`, `/tokenize`), so no tokeniser is fetched."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("lm_eval")

from conftest import MODEL

DOCUMENTS = [
    {"country": "France", "choices": [" Paris", " Rome", " Berlin"], "answer": 0},
    {"country": "Italy", "choices": [" Paris", " Rome", " Berlin"], "answer": 1},
    {"country": "Germany", "choices": [" Paris", " Rome", " Berlin"], "answer": 2},
    {"country": "Japan", "choices": [" Madrid", " Lima", " Tokyo"], "answer": 2},
]
CHOICES = """
task: capitals
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
output_type: multiple_choice
doc_to_text: "The capital of {{country}} is"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
target_delimiter: ""
metric_list: [{metric: acc}]
"""
WORDS = """
task: capitals
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
output_type: generate_until
doc_to_text: "Name the capital of {{country}}."
doc_to_target: "{{choices[answer] | trim}}"
generation_kwargs: {until: ["\\n\\n"], max_gen_toks: 24, do_sample: false, temperature: 0}
filter_list: [{name: city, filter: [{function: regex, regex_pattern: "(Paris|Rome|Berlin|Tokyo)"}, {function: take_first}]}]
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true, ignore_case: true}]
"""


def evaluate(folder, task, model, arguments, *options):
    """The results of the task."""
    documents = folder / "capitals.jsonl"
    documents.write_text("".join(json.dumps(document) + "\n" for document in DOCUMENTS))
    (folder / "capitals.yaml").write_text(task.replace("FILE", str(documents)))
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "hf")}
    ran = subprocess.run(
        [sys.executable, "-m", "lm_eval", "run", "--model", model, "--model_args", arguments,
         "--tasks", "capitals", "--include_path", str(folder), "--output_path", str(folder / "out"),
         *options],
        env=os.environ | offline | {"OPENAI_API_KEY": "none"}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (results,) = (folder / "out").rglob("results*.json")
    return json.loads(results.read_text())["results"]["capitals"]


def test_log_probabilities_of_choices(server, tmp_path):
    arguments = (
        f"model={MODEL},base_url={server.url}/v1/completions,tokenizer_backend=remote,"
        "num_concurrent=2,max_retries=1"
    )
    assert evaluate(tmp_path, CHOICES, "local-completions", arguments)["acc,none"] == 1


def test_answers_in_chats(server, tmp_path):
    arguments = f"model={MODEL},base_url={server.url}/v1/chat/completions,num_concurrent=2,max_retries=1"
    results = evaluate(
        tmp_path, WORDS, "local-chat-completions", arguments, "--apply_chat_template"
    )
    assert results["exact_match,city"] == 1
