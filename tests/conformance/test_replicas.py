"""Three replicas behind nginx with the configuration that deploy/ ships."""
import concurrent.futures
import os
import shutil
import socket
import subprocess
import threading
import time

import openai
import pytest

from conftest import MODEL, ROOT

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture
def balancer(tmp_path):
    """(port of nginx, ports of the replicas behind it)"""
    front, *replicas = free_ports(4)
    text = (ROOT / "deploy/nginx.conf").read_text()
    for shipped, port in zip((10242, 10251, 10252, 10253), (front, *replicas)):
        assert f"127.0.0.1:{shipped}" in text
        text = text.replace(f"127.0.0.1:{shipped}", f"127.0.0.1:{port}")
    config = tmp_path / "nginx.conf"
    config.write_text(text)
    if os.geteuid() == 0:
        config.write_text("user root;\n" + text)
    process = subprocess.Popen([NGINX, "-p", str(tmp_path), "-c", str(config), "-g", "daemon off;"])
    yield front, replicas
    process.terminate()
    process.wait(10)


def ask(port, number):
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=f"user-{number % 12}",
                           max_retries=0, timeout=120)
    frames = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": f"Say {number % 5}."}], max_tokens=30,
        temperature=0, stream=True, extra_body={"ignore_eos": True},
        stream_options={"include_usage": True},
    )
    usage, text = None, ""
    for frame in frames:
        usage = frame.usage or usage
        text += "".join(choice.delta.content or "" for choice in frame.choices)
    assert usage.completion_tokens == 30
    return number % 5, text


def wait_until_it_answers(replica):
    """nginx comes back to one that was away some seconds later."""
    deadline = time.monotonic() + 60
    while replica.metric("mlxd_requests_total", outcome="completed") == 0:
        assert time.monotonic() < deadline, "nginx does not come back to it"
        time.sleep(0.1)


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
def test_a_rolling_restart_under_load_loses_no_request(start_server, balancer):
    front, ports = balancer

    def start(port):
        return start_server("--threads", 1, "--kv-cache-gb", 0.5, port=port)

    replicas = [start(port) for port in ports]
    restarting = threading.Event()
    restarting.set()
    failures, answers = [], {}

    def client(first):
        number = first
        while restarting.is_set():
            try:
                question, text = ask(front, number)
                answers.setdefault(question, set()).add(text)
            except Exception as error:  # whatever a client would see
                failures.append(repr(error))
            number += 8

    with concurrent.futures.ThreadPoolExecutor(8) as clients:
        running = [clients.submit(client, i) for i in range(8)]
        try:
            time.sleep(1)
            for i, replica in enumerate(replicas):
                assert replica.stop() == 0
                replicas[i] = start(ports[i])
                wait_until_it_answers(replicas[i])
        finally:
            restarting.clear()
        for one in running:
            one.result()
    assert failures == []
    assert sorted(answers) == [0, 1, 2, 3, 4]
    assert all(len(texts) == 1 for texts in answers.values()), "replicas agree"


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
def test_a_client_finds_its_history_in_its_replicas_cache(start_server, balancer):
    front, ports = balancer
    for port in ports:
        start_server("--threads", 1, "--kv-cache-gb", 0.5, port=port)
    for number in range(6):
        history = [{"role": "user", "content": f"Story {number}. " * 100}]
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{front}/v1", api_key=f"user-{number}",
                               max_retries=0, timeout=120)
        usages = [client.chat.completions.create(model=MODEL, messages=history, max_tokens=1).usage
                  for _ in range(3)]
        cached = [usage.prompt_tokens_details.cached_tokens for usage in usages]
        assert cached[0] < 0.2 * usages[0].prompt_tokens
        assert min(cached[1:]) > 0.9 * usages[0].prompt_tokens, cached
