"""The bytes on the wire, by curl and raw sockets."""

import json
import re
import socket
import subprocess

from conftest import MODEL

CHAT = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "Say hi."}],
    "max_tokens": 6,
    "temperature": 0,
}


def curl(server, path, body, *arguments):
    return subprocess.run(
        ["curl", "-sS", "-N", "-i", "--max-time", "60", *arguments, server.url + path,
         "-H", "Content-Type: application/json", "-d", json.dumps(body)],
        check=True, capture_output=True,
    ).stdout.decode()


def test_chat_stream_frame_by_frame(server):
    head, _, body = curl(
        server, "/v1/chat/completions", CHAT | {"stream": True, "stream_options": {"include_usage": True}}
    ).partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 OK")
    headers = {k.lower(): v for k, v in re.findall(r"^([^:\r\n]+): ([^\r\n]*)", head, re.M)}
    assert headers["content-type"].startswith("text/event-stream")
    assert headers["cache-control"] == "no-cache"
    assert headers["transfer-encoding"] == "chunked"
    assert headers["x-request-id"]
    frames = body.split("\n\n")
    assert frames[-1] == ""
    assert frames[-2] == "data: [DONE]"
    chunks = []
    for frame in frames[:-2]:
        assert frame.startswith("data: {") and "\n" not in frame
        chunks.append(json.loads(frame[6:]))
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert all(c["object"] == "chat.completion.chunk" for c in chunks)
    assert all(c["usage"] is None for c in chunks[:-1])
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["prompt_tokens_details"]["cached_tokens"] >= 0
    assert chunks[-2]["choices"][0]["delta"] == {}
    assert chunks[-2]["choices"][0]["finish_reason"] in ("stop", "length")
    assert all(c["choices"][0]["finish_reason"] is None for c in chunks[:-2])


def test_completion_stream_frame_by_frame(server):
    body = curl(
        server,
        "/v1/completions",
        {"model": MODEL, "prompt": "a b c", "max_tokens": 3, "temperature": 0, "stream": True},
    ).partition("\r\n\r\n")[2]
    frames = body.split("\n\n")
    assert frames[-2:] == ["data: [DONE]", ""]
    chunks = [json.loads(f[6:]) for f in frames[:-2]]
    assert all(c["object"] == "text_completion" and "text" in c["choices"][0] for c in chunks)
    assert all("usage" not in c for c in chunks)
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"


def test_an_error_has_openais_shape(server):
    head, _, body = curl(server, "/v1/chat/completions", CHAT | {"temperature": 3}).partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 400")
    error = json.loads(body)["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == "temperature"


def test_methods_and_paths(server):
    head, _, _ = curl(server, "/v1/models", {}).partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 405")
    assert re.search(r"^Allow: .*GET", head, re.M | re.I)
    assert curl(server, "/v1/nothing", {}).startswith("HTTP/1.1 404")
    assert server.get("/health")[0] == 200
    version = json.loads(server.get("/version")[1])
    assert version["version"]


def test_the_clients_request_id_comes_back(server):
    _, headers, _ = server.post("/v1/chat/completions", CHAT, {"x-request-id": "abc-123_x"})
    assert headers["x-request-id"] == "abc-123_x"
    _, headers, _ = server.post("/v1/chat/completions", CHAT, {"x-request-id": "bad id\x7f!"})
    assert headers["x-request-id"] != "bad id\x7f!"


def raw(server, request):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        return received


def test_smuggling_attempts_are_refused_and_the_connection_closed(server):
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    for extra in (
        b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"Content-Length: 2, 2\r\n\r\n{}",
        b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"Host: other\r\nContent-Length: 2\r\n\r\n{}",
        b"X-Folded: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",
    ):
        received = raw(server, head + extra + b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert received.startswith(b"HTTP/1.1 400"), (extra, received[:200])
        assert received.count(b"HTTP/1.1") == 1, extra
    assert raw(server, b"GET /health HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 400")


def test_a_foreign_host_name_is_refused(server):
    received = raw(server, b"GET /v1/models HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
    assert received.startswith((b"HTTP/1.1 403", b"HTTP/1.1 421"))
