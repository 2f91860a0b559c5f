"""Many clients at once: connections that wait cost little, and streams all end."""

import asyncio
import json
import pathlib
import re
import resource
import time

import pytest

from conftest import MODEL, Server

SOFT, HARD = resource.getrlimit(resource.RLIMIT_NOFILE)


@pytest.fixture(autouse=True)
def many_descriptors():
    """This process holds the other end of every connection."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (HARD, HARD))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, HARD))


def resident_mib(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) / 1024


async def read_answer(reader):
    """The body of a Content-Length or chunked answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = re.search(r"content-length: (\d+)", head)
    if length:
        return head, await reader.readexactly(int(length.group(1)))
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
    return head, body


@pytest.mark.skipif(HARD < 10_200, reason="this process may not open 10,200 files")
def test_ten_thousand_idle_or_slow_connections_cost_little_and_hold_up_nobody(start_server):
    server = start_server("--header-timeout", 300, "--idle-timeout", 300)
    server.get("/health")
    before = resident_mib(server.process)

    async def connect(index):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=4096)
        if index % 2:  # has been served and keeps the connection
            writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head, _ = await read_answer(reader)
            assert head.startswith("HTTP/1.1 200")
        else:  # sends its header slowly
            writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        return writer

    async def run():
        writers = []
        for first in range(0, 10_000, 200):
            writers += await asyncio.gather(*(connect(i) for i in range(first, first + 200)))
        await asyncio.sleep(1)
        cost = resident_mib(server.process) - before
        start = time.monotonic()
        answer = await asyncio.to_thread(
            server.post, "/v1/completions", {"model": MODEL, "prompt": "Hello", "max_tokens": 4}
        )
        seconds = time.monotonic() - start
        for writer in writers:
            writer.close()
        return cost, answer[0], seconds

    cost, status, seconds = asyncio.run(run())
    print(f"10,000 connections: {cost:.0f} MiB, an answer among them in {seconds * 1000:.0f} ms")
    assert status == 200
    assert cost <= 100


@pytest.mark.skipif(HARD < 1_200, reason="this process may not open 1,200 files")
def test_a_thousand_streams_at_once_all_end_whole(start_server):
    server = start_server("--max-queued", 1000)
    body = json.dumps(
        {
            "model": MODEL,
            "messages": [{"role": "user", "content": "Count to three."}],
            "max_tokens": 6,
            "temperature": 0,
            "stream": True,
        }
    ).encode()
    request = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    ) + body

    async def stream():
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request)
        head, answer = await read_answer(reader)
        writer.close()
        assert head.startswith("HTTP/1.1 200"), head
        *chunks, done = [f.removeprefix("data: ") for f in answer.decode().split("\n\n") if f]
        assert done == "[DONE]"
        deltas = [json.loads(c)["choices"][0] for c in chunks if not c.startswith(":")]
        assert deltas[-1]["finish_reason"] in ("stop", "length")
        return "".join(d["delta"].get("content", "") for d in deltas)

    async def run():
        return await asyncio.gather(*(stream() for _ in range(1000)))

    start = time.monotonic()
    texts = asyncio.run(run())
    print(f"1,000 streams in {time.monotonic() - start:.1f} s")
    assert texts[0] and set(texts) == {texts[0]}
    server.wait_for_metric("mlxd_kv_blocks_used", 0)
    server.wait_for_metric("mlxd_connections", 1)


@pytest.mark.skipif(HARD < 600, reason="this process may not open 600 files")
def test_a_low_soft_limit_of_descriptors_is_raised():
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, HARD))  # what the server inherits
    server = Server()
    resource.setrlimit(resource.RLIMIT_NOFILE, (HARD, HARD))

    async def run():
        open_ones = [
            await asyncio.open_connection("127.0.0.1", server.port) for _ in range(500)
        ]
        for reader, writer in open_ones:
            writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head, _ = await asyncio.wait_for(read_answer(reader), 10)
            assert head.startswith("HTTP/1.1 200")
        for _, writer in open_ones:
            writer.close()

    try:
        asyncio.run(run())
    finally:
        assert server.stop() == 0
