"""One terminal event, whatever happens: disconnects, deadlines, a full queue, signals."""

import concurrent.futures
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

import openai
import pytest

from conftest import BINARY, MODEL, ROOT, SMOLLM2

LONG = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "Tell me a very long story."}],
    "max_tokens": 3000,
    "temperature": 0,
    "ignore_eos": True,
}


def open_stream(server, body):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request(
        "POST",
        "/v1/chat/completions",
        json.dumps(body | {"stream": True}),
        {"Content-Type": "application/json"},
    )
    return connection, connection.getresponse()


def frames(answer):
    return [f for f in answer.read().decode().split("\n\n") if f and not f.startswith(":")]


def test_a_client_that_leaves_frees_its_blocks(server):
    generator = random.Random(1)
    for stage in range(30):
        stream = generator.random() < 0.5
        connection = socket.create_connection(("127.0.0.1", server.port))
        body = json.dumps(LONG | {"stream": stream}).encode()
        head = (
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        sent = (head + body)[: generator.choice([10, len(head), len(head) + 20, len(head) + len(body)])]
        connection.sendall(sent)
        time.sleep(generator.choice([0, 0.001, 0.01, 0.1]))
        connection.close()
    server.wait_for_metric("mlxd_running_sequences", 0)
    server.wait_for_metric("mlxd_queued_requests", 0)
    server.wait_for_metric("mlxd_kv_blocks_used", 0)


def test_a_deadline_ends_a_request_with_one_error(server):
    status, _, answer = server.post("/v1/chat/completions", LONG | {"timeout": 0.2})
    assert status == 504
    assert json.loads(answer)["error"]["code"] == "timeout"
    connection, answer = open_stream(server, LONG | {"timeout": 0.2})
    received = frames(answer)
    connection.close()
    assert received[-1] == "data: [DONE]"
    assert json.loads(received[-2][6:])["error"]["code"] == "timeout"
    assert sum("error" in json.loads(f[6:]) for f in received[:-1]) == 1


def test_a_full_queue_is_429_with_retry_after(start_server):
    server = start_server("--max-queued", 2, "--max-running", 1)
    outcomes = []

    def ask(_):
        status, headers, answer = server.post("/v1/chat/completions", LONG | {"max_tokens": 200})
        outcomes.append((status, headers.get("Retry-After")))

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        list(pool.map(ask, range(12)))
    refused = [o for o in outcomes if o[0] == 429]
    assert refused and all(int(after) >= 1 for _, after in refused)
    assert {status for status, _ in outcomes} == {200, 429}


def test_sigterm_lets_streams_finish(start_server):
    server = start_server()
    connection, answer = open_stream(server, LONG | {"max_tokens": 300})
    assert answer.readline().startswith(b"data: ")
    done = []
    stopper = threading.Thread(target=lambda: done.append(server.stop()))
    stopper.start()
    received = frames(answer)
    assert received[-1] == "data: [DONE]"
    assert json.loads(received[-2][6:])["choices"][0]["finish_reason"] == "length"
    stopper.join()
    assert done == [0], server.log()


def open_200_streams(server, body):
    """Answers whose first line was read."""
    with concurrent.futures.ThreadPoolExecutor(200) as clients:
        streams = list(clients.map(lambda _: open_stream(server, body), range(200)))
    for _, answer in streams:
        assert answer.readline().startswith(b"data: ")
    return streams


def test_sigterm_lets_200_streams_finish(start_server):
    server = start_server("--drain-timeout", 120, "--max-running", 256)
    streams = open_200_streams(server, LONG | {"max_tokens": 40})
    server.process.send_signal(signal.SIGTERM)
    finished_later = 0
    for _, answer in streams:
        finished_later += server.process.poll() is None
        received = frames(answer)
        assert received[-1] == "data: [DONE]"
        choices = [json.loads(f[6:])["choices"][0] for f in received[:-1] if f.startswith("data: ")]
        assert choices[-1]["finish_reason"] == "length"
        assert sum("content" in choice["delta"] for choice in choices) > 1
    assert finished_later > 0
    assert server.process.wait(60) == 0, server.log()


def test_sigterm_ends_the_rest_with_an_error_after_the_drain_limit(start_server):
    server = start_server("--drain-timeout", 1, "--max-running", 256)
    streams = open_200_streams(server, LONG)

    def stop():
        start = time.monotonic()
        return server.stop(), time.monotonic() - start

    stopped = concurrent.futures.ThreadPoolExecutor(1).submit(stop)
    time.sleep(0.3)
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.port), timeout=2).close()
    for _, answer in streams:
        received = frames(answer)
        assert received[-1] == "data: [DONE]"
        assert json.loads(received[-2][6:])["error"]["code"] == "server_stopping"
    status, seconds = stopped.result()
    assert status == 0, server.log()
    assert seconds < 1 + 2


def test_a_second_sigint_stops_at_once(start_server):
    server = start_server()
    connection, answer = open_stream(server, LONG)
    assert answer.readline().startswith(b"data: ")
    server.process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    start = time.monotonic()
    assert server.stop(signal.SIGINT, timeout=10) in (0, 130)
    assert time.monotonic() - start < 5


def test_an_answer_that_nobody_reads_does_not_stop_the_others(server):
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    body = json.dumps(LONG | {"stream": True}).encode()
    connection.sendall(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )
    time.sleep(0.5)
    answer = server.client().chat.completions.create(
        model=MODEL, messages=LONG["messages"], max_tokens=8, temperature=0
    )
    assert answer.usage.completion_tokens == 8
    connection.close()
    server.wait_for_metric("mlxd_running_sequences", 0)


def test_keys(start_server):
    server = start_server("--api-key", "alpha,beta")
    with pytest.raises(openai.AuthenticationError):
        server.client(api_key="gamma").models.list()
    assert server.client(api_key="alpha").models.list().data
    assert server.client(api_key="beta").models.list().data
    assert server.get("/health")[0] == 200
    assert "alpha" not in server.log() and "beta" not in server.log()


def test_another_address_needs_a_key(start_server):
    with pytest.raises(RuntimeError) as caught:
        start_server("--host", "0.0.0.0")
    assert "--api-key" in str(caught.value) and "--no-auth" in str(caught.value)
    start_server("--host", "0.0.0.0", "--no-auth")


def test_settings_of_mlx_manager_and_of_a_file(start_server, tmp_path):
    server = start_server(
        model=None,
        environment={
            "MLX_SERVER_AVAILABLE_MODELS": json.dumps([f"one={SMOLLM2}"]),
            "MLX_SERVER_DEFAULT_MODEL": "one",
            "MLX_SERVER_TIMEOUT_CHAT_SECONDS": "7",
        },
    )
    assert [m.id for m in server.client().models.list().data] == ["one"]
    assert server.post("/v1/chat/completions", LONG | {"model": "default", "max_tokens": 1})[0] == 200
    assert server.post("/v1/chat/completions", LONG | {"model": "one", "timeout": 8})[0] == 400
    settings = tmp_path / "mlxd.toml"
    settings.write_text(f'model = ["two={SMOLLM2}"]\nlenient = true\n')
    server = start_server("--config", settings, model=None)
    assert [m.id for m in server.client().models.list().data] == ["two"]
    assert server.post("/v1/chat/completions", LONG | {"model": "two", "x": 1, "max_tokens": 1})[0] == 200
    server = start_server("--config", settings, "--model", f"flag={SMOLLM2}", model=None)
    assert [m.id for m in server.client().models.list().data] == ["flag"]
    server = start_server("--config", settings, model=None, environment={"MLXD_MODEL": f"env={SMOLLM2}"})
    assert [m.id for m in server.client().models.list().data] == ["env"]
    for text, word in [("modle = 3", "modle"), ("max-models = -3", "max-models"), ("lenient = 7x", "lenient")]:
        settings.write_text(text + "\n")
        with pytest.raises(RuntimeError) as caught:
            start_server("--config", settings)
        assert word in str(caught.value)


def test_the_log_says_one_line_a_request_and_no_content(start_server):
    server = start_server("--log-format", "json")
    secret = "xylophone-prompt"
    server.post(
        "/v1/chat/completions",
        {"model": MODEL, "messages": [{"role": "user", "content": secret}], "max_tokens": 3,
         "temperature": 0},
        {"x-request-id": "the-one"},
    )
    server.stop()
    lines = [line for line in server.lines if "the-one" in line]
    assert len(lines) == 1
    entry = json.loads(lines[0])
    for key in ("id", "model", "prompt_tokens", "completion_tokens", "total_ms", "finish_reason", "status"):
        assert key in entry, entry
    assert secret not in server.log()


def test_every_line_of_the_json_log_is_json(start_server):
    odd = 'he "said" so'
    server = start_server("--log-format", "json", model=f"{odd}={SMOLLM2}")
    server.stop()
    messages = [json.loads(line)["message"] for line in server.lines]
    assert any(odd in message for message in messages)


@pytest.mark.parametrize("file", ["grafana.json", "helm/mlxd/alerts.yaml"])
def test_dashboard_and_alerts_ask_for_metrics_that_exist(server, file):
    server.client().completions.create(model=MODEL, prompt="x", max_tokens=2)
    known = set(re.findall(r"^(?:# TYPE )?([a-z_0-9]+)", server.get("/metrics")[1], re.MULTILINE))
    asked = set(re.findall(r"(?:mlxd|process)_[a-z_]+", (ROOT / "deploy" / file).read_text()))
    assert len(asked) > 7
    assert asked <= known, asked - known


def test_the_chart_sets_what_there_is_to_set():
    chart = (ROOT / "deploy/helm/mlxd/templates/statefulset.yaml").read_text()
    known = subprocess.run([BINARY, "serve", "--help"], capture_output=True, text=True, check=True).stdout
    asked = set(re.findall(r"name: (MLXD_[A-Z_]+)", chart))
    assert len(asked) > 8
    assert asked <= set(re.findall(r"Env:(MLXD_[A-Z_]+)", known))


def test_metrics_are_prometheus_text(server):
    server.client().completions.create(model=MODEL, prompt="x", max_tokens=2)
    text = server.get("/metrics")[1]
    for line in text.splitlines():
        assert re.fullmatch(r"# (HELP|TYPE) .+|[a-z_:0-9]+(\{.*\})? [0-9eE.+\-naif]+", line), line
    assert server.metric("mlxd_generated_tokens_total") >= 2
    for name in (
        "mlxd_requests_total",
        "mlxd_queued_requests",
        "mlxd_running_sequences",
        "mlxd_kv_blocks_used",
        "mlxd_kv_blocks_cached",
        "mlxd_kv_blocks_total",
        "mlxd_prompt_tokens_total",
        "mlxd_cached_prompt_tokens_total",
        "mlxd_time_to_first_token_seconds_bucket",
        "mlxd_time_between_tokens_seconds_bucket",
        "mlxd_step_seconds_bucket",
        "mlxd_heartbeat_age_seconds",
    ):
        assert f"\n{name}" in "\n" + text, name


def test_while_models_load_requests_are_told_to_wait(start_server, tmp_path):
    # The model is a pipe that nobody writes to: its header takes for ever to arrive.
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    os.mkfifo(tmp_path / "slow.gguf")
    process = subprocess.Popen(
        [str(BINARY), "serve", str(tmp_path / "slow.gguf"), "--port", str(port)],
        stderr=subprocess.PIPE, text=True,
    )
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
            except urllib.error.HTTPError as error:
                assert error.code == 503 and json.loads(error.read())["status"] == "loading"
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        for path, body in (("/v1/models", None), ("/v1/chat/completions", json.dumps(LONG).encode())):
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}{path}", body, {"Content-Type": "application/json"}
            )
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request, timeout=5)
            assert refused.value.code == 503 and refused.value.headers["Retry-After"]
            assert json.loads(refused.value.read())["error"]["code"] == "model_loading"
        process.send_signal(signal.SIGINT)  # stops at once
        assert process.wait(5) == 0
    finally:
        process.kill()
        process.wait()


LONG_PROMPT = {"model": MODEL, "prompt": "word " * 3000, "max_tokens": 5, "temperature": 0}


def test_a_step_that_hangs_ends_its_streams_and_is_recovered_from(start_server):
    server = start_server("--hang-timeout", "0.2", "--step-tokens", 4096)  # a step takes longer
    frames = server.post("/v1/completions", LONG_PROMPT | {"stream": True})[2]
    assert b"engine_hung" in frames
    deadline = time.monotonic() + 30  # the step ends, and all is well again
    while server.post("/v1/completions", LONG_PROMPT | {"prompt": "Hi"})[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert server.get("/health")[0] == 200


def test_a_hang_is_told_to_every_client_and_to_health(start_server):
    server = start_server("--hang-timeout", "0.2", "--step-tokens", 4096)
    with concurrent.futures.ThreadPoolExecutor(5) as clients:
        stream = LONG_PROMPT | {"stream": True}
        streams = [clients.submit(server.post, "/v1/completions", stream) for _ in range(4)]
        whole = clients.submit(server.post, "/v1/completions", LONG_PROMPT)
        statuses = set()
        while not all(call.done() for call in (*streams, whole)):
            status, text = server.get("/health")
            statuses.add(status)
            assert (status == 503) == ("unhealthy" in text)
        for call in (*streams, whole):  # before the first token it is an answer, not an event
            status, headers, text = call.result()
            assert status == 503 and b"engine_hung" in text and "Retry-After" in headers
    assert 503 in statuses


def test_a_process_that_was_stopped_for_a_while_does_not_hang(start_server):
    # As a machine does that sleeps.
    server = start_server("--hang-timeout", 1, "--exit-on-hang")
    with concurrent.futures.ThreadPoolExecutor(1) as client:
        story = {"model": MODEL, "prompt": "Once", "max_tokens": 1500, "ignore_eos": True}
        whole = client.submit(server.post, "/v1/completions", story)
        for _ in range(4):
            time.sleep(0.2)
            server.process.send_signal(signal.SIGSTOP)
            time.sleep(1.5)
            server.process.send_signal(signal.SIGCONT)
        assert whole.result()[0] == 200
    assert server.metric("mlxd_hangs_total") == 0


def test_exit_on_hang_leaves_a_code_for_the_supervisor(start_server):
    # Also if the step has ended by the time that the process looks.
    server = start_server("--hang-timeout", "0.2", "--step-tokens", 4096, "--exit-on-hang")
    assert b"engine_hung" in server.post("/v1/completions", LONG_PROMPT)[2]
    assert server.process.wait(20) == 70


def test_systemd_is_told_of_the_start_the_health_and_the_end(start_server, tmp_path):
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(20)
    server = start_server(environment={"NOTIFY_SOCKET": str(tmp_path / "notify")})
    assert manager.recv(100) == b"READY=1"
    assert manager.recv(100) == b"WATCHDOG=1"
    server.process.terminate()
    while (said := manager.recv(100)) == b"WATCHDOG=1":
        pass
    assert said == b"STOPPING=1"
    assert server.process.wait(20) == 0


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_accepts_the_unit(tmp_path):
    unit = tmp_path / "mlxd.service"
    text = (ROOT / "deploy/mlxd.service").read_text().replace("/opt/mlxd/bin/mlxd", str(BINARY))
    unit.write_text(text)
    verdict = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    # It may have something to say of this machine's own units.
    assert [line for line in verdict.stderr.splitlines() if "mlxd.service" in line] == []
