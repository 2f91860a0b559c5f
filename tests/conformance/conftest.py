"""The real binary with the real model, spoken to as users do.

`server` is one mlxd for the whole session; tests that stop, kill or overload a server start their
own with `start_server`. MLXD_BINARY names another binary than build/release/mlxd.
"""

import json
import os
import pathlib
import queue
import random
import re
import signal
import subprocess
import threading
import time
import urllib.request

import openai
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("MLXD_BINARY", ROOT / "build/release/mlxd"))
SCRIPTED = BINARY.parent / "scripted_server"
MODELS = ROOT / ".cache/models"
SMOLLM2 = MODELS / "SmolLM2-135M-Instruct.Q4_1.gguf"
GEMMA3 = MODELS / "gemma-3-270m-q4_k_m.gguf"
MODEL = "SmolLM2-135M-Instruct"
QWEN = MODELS / "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"


class Server:
    """A running `mlxd serve`, or another program; its log is collected so that tests can read it."""

    def __init__(
        self, *arguments, model=f"{MODEL}={SMOLLM2}", environment=None, port=0, program=(BINARY, "serve")
    ):
        command = [*map(str, program), "--port", str(port)]
        if model:
            command += ["--model", model]
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLXD_", "MLX_SERVER_"))}
        self.process = subprocess.Popen(
            command + [str(a) for a in arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=clean | (environment or {}),
        )
        self.lines = []
        self._ready = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = self._ready.get(timeout=120)
        if self.port is None:
            self.process.wait(10)
            raise RuntimeError("mlxd did not start:\n" + self.log())

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            found = re.search(r"listening on http://[^ ]+:(\d+)", line)
            if found:
                self._ready.put(int(found.group(1)))
        self._ready.put(None)

    def log(self):
        return "\n".join(self.lines)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def client(self, **options):
        options.setdefault("api_key", "none")
        options.setdefault("max_retries", 0)
        options.setdefault("timeout", 120)
        return openai.OpenAI(base_url=self.url + "/v1", **options)

    def async_client(self, **options):
        return openai.AsyncOpenAI(
            base_url=self.url + "/v1", api_key="none", max_retries=0, timeout=120, **options
        )

    def get(self, path):
        """(status, body as text) of a plain GET."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def post(self, path, body, headers=None):
        """(status, headers, body) of a raw POST; body may be bytes or an object."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data, {"Content-Type": "application/json"} | (headers or {})
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def metric(self, name, **labels):
        """The sum of the samples of a metric whose labels include these."""
        total = 0.0
        for line in self.get("/metrics")[1].splitlines():
            found = re.fullmatch(r"([a-z_0-9]+)(?:\{(.*)\})? ([^ ]+)", line)
            if found and found.group(1) == name:
                if all(f'{k}="{v}"' in (found.group(2) or "") for k, v in labels.items()):
                    total += float(found.group(3))
        return total

    def wait_for_metric(self, name, value, seconds=10):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.metric(name) == value:
                return
            time.sleep(0.02)
        raise AssertionError(f"{name} is {self.metric(name)}, expected {value}")

    def stop(self, kind=signal.SIGTERM, timeout=60):
        """Sends the signal and returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(kind)
        try:
            return self.process.wait(timeout)
        finally:
            if self.process.poll() is None:
                self.process.kill()
            self._reader.join(10)


@pytest.fixture(scope="session")
def server():
    running = Server()
    yield running
    assert running.process.poll() is None, "the server died:\n" + running.log()
    assert running.stop() == 0, running.log()


@pytest.fixture(scope="session")
def scripted():
    """The server of `qwen`, whose answers are those of clients/script.json."""
    script = pathlib.Path(__file__).parent / "clients/script.json"
    running = Server("--script", script, model=f"qwen={QWEN}", program=(SCRIPTED,))
    yield running
    assert running.stop() == 0, running.log()
    assert "off the script" not in running.log()


@pytest.fixture
def start_server():
    started = []

    def start(*arguments, **options):
        started.append(Server(*arguments, **options))
        return started[-1]

    yield start
    for running in started:
        running.stop(signal.SIGKILL)


@pytest.fixture(scope="session")
def client(server):
    return server.client()


PROMPTS = [
    "Why is the sky blue?",
    "Write a haiku about the sea.",
    "List three fruits.",
    "Répondez en français: quelle heure est-il ?",
    "用中文说你好。",
    "Say something with emoji 🎉🦊.",
    "def fibonacci(n):",
    "What is 17 + 25?",
]


def random_chat(generator: random.Random):
    """The arguments of a random, valid chat request (without `stream`)."""
    request = {
        "model": MODEL,
        "messages": [{"role": "user", "content": generator.choice(PROMPTS)}],
        "max_tokens": generator.randint(1, 24),
        "seed": generator.randint(-(2**63), 2**63 - 1),
        "temperature": generator.choice([0, 0.5, 1, 1.5, 2]),
    }
    if generator.random() < 0.3:
        request["messages"].insert(0, {"role": "system", "content": "Answer briefly."})
    if generator.random() < 0.3:
        request["top_p"] = generator.choice([0.1, 0.5, 0.9])
    if generator.random() < 0.3:
        request["stop"] = generator.choice([".", "\n", ["the", "a "], ["é", "。"]])
    if generator.random() < 0.3:
        request["presence_penalty"] = generator.uniform(-2, 2)
        request["frequency_penalty"] = generator.uniform(-2, 2)
    if generator.random() < 0.3:
        request["logprobs"] = True
        request["top_logprobs"] = generator.randint(0, 5)
    if generator.random() < 0.2:
        request["n"] = generator.randint(2, 4)
    if generator.random() < 0.3:
        request["extra_body"] = {"top_k": generator.randint(1, 50), "min_p": 0.05}
    return request
