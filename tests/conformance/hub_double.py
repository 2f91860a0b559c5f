"""A double of the Hugging Face hub: what mlxd asks of it over HTTP, and all that may go wrong.

The bytes of large files come from another "host" (another port), to which the hub sends on, as the
real one does. Every request is written down.
"""

import hashlib
import http.server
import json
import re
import ssl
import threading
import time
import urllib.parse


def git_hash(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Repository:
    def __init__(self, files, commit="1" * 40, lfs=()):
        self.files = files
        self.commit = commit
        self.lfs = lfs  # paths; large files are in LFS anyway
        self.revisions = {"main"}
        self.listed = {}  # path -> what the list says in place of the truth

    def is_lfs(self, path):
        return path in self.lfs or path.endswith((".gguf", ".safetensors"))

    def sibling(self, path):
        content = self.files[path]
        entry = {"rfilename": path, "size": len(content), "blobId": git_hash(content)}
        if self.is_lfs(path):
            sha256 = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 134}
        return entry | self.listed.get(path, {})

    def listing(self):
        return {"sha": self.commit, "siblings": [self.sibling(path) for path in self.files]}


class Request:
    def __init__(self, handler, host):
        self.host = host  # "hub" or "bytes"
        self.method = handler.command
        self.path = handler.path
        self.range = handler.headers.get("Range")
        self.token = handler.headers.get("Authorization")


class HubDouble:
    """Faults are set as attributes, before or while it is asked."""

    def __init__(self, certificate=None):
        self.repositories = {}
        self.requests = []
        self.has_ranges = True
        self.break_after = None  # bytes of an answer, after which the connection is closed
        self.breaks = 0  # how many answers more are broken off
        self.errors = []  # statuses (or (status, headers)) that the next requests for bytes get
        self.answer = None  # (status, headers, body) of every request for a list
        self.bytes_per_second = None
        self.corrupt = False  # the last byte of each file
        self.redirect = None  # in place of the other host: an address to send on to
        self.extra_bytes = 0  # more than the file has
        self.headers = {}  # of answers of the hub to requests for files
        self.gate = None  # an Event: bytes wait for it after the first block
        self._lock = threading.Lock()
        self._servers = [self._serve(name, certificate) for name in ("hub", "bytes")]
        scheme = "https" if certificate else "http"
        self.url, self.bytes_url = (f"{scheme}://localhost:{s.server_port}" for s in self._servers)

    def _serve(self, name, certificate):
        double = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                with double._lock:
                    double.requests.append(Request(self, name))
                (double._hub if name == "hub" else double._bytes)(self)

            do_HEAD = do_GET  # huggingface_hub asks so for hashes

            def log_message(self, *arguments):
                pass

        server = http.server.ThreadingHTTPServer(("localhost", 0), Handler)
        server.daemon_threads = True
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server

    def close(self):
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def asked(self, host="bytes"):
        with self._lock:
            return [request for request in self.requests if request.host == host]

    def forget(self):
        with self._lock:
            self.requests.clear()

    @staticmethod
    def _send(handler, status, headers=(), body=b""):
        handler.send_response(status)
        for name, value in dict(headers).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if handler.command != "HEAD":
            try:
                handler.wfile.write(body)
            except OSError:  # the client has heard enough
                handler.close_connection = True

    def _hub(self, handler):
        url = urllib.parse.urlsplit(handler.path)
        listing = re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/([^/]+)", url.path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", url.path)
        found = listing or file
        repository = self.repositories.get(found.group(1)) if found else None
        if listing and self.answer:
            return self._send(handler, *self.answer)
        if repository is None:
            return self._send(handler, 401, {"X-Error-Code": "RepoNotFound"}, b"Repository not found")
        revision = urllib.parse.unquote(found.group(2))
        if revision not in repository.revisions | {repository.commit}:
            return self._send(handler, 404, {"X-Error-Code": "RevisionNotFound"}, b"no such revision")
        if listing:
            assert url.query == "blobs=true"
            return self._send(handler, 200, {}, json.dumps(repository.listing()).encode())
        path = urllib.parse.unquote(file.group(3))
        if path not in repository.files:
            return self._send(handler, 404, {"X-Error-Code": "EntryNotFound"}, b"no such file")
        headers = {"X-Repo-Commit": repository.commit} | self.headers
        if self.redirect or repository.is_lfs(path):
            place = self.redirect or f"{self.bytes_url}/{found.group(1)}?path={file.group(3)}"
            if repository.is_lfs(path):
                headers = {"X-Linked-Etag": f'"{hashlib.sha256(repository.files[path]).hexdigest()}"',
                           "X-Linked-Size": str(len(repository.files[path]))} | headers
            return self._send(handler, 302, headers | {"Location": place})
        headers["ETag"] = f'"{git_hash(repository.files[path])}"'
        self._content(handler, repository.files[path], headers)

    def _bytes(self, handler):
        url = urllib.parse.urlsplit(handler.path)
        repository = self.repositories[url.path.strip("/")]
        path = urllib.parse.unquote(urllib.parse.parse_qs(url.query)["path"][0])
        self._content(handler, repository.files[path], {})

    def _next_fault(self):
        with self._lock:
            error = self.errors.pop(0) if self.errors else None
            breaks = self.breaks > 0
            self.breaks -= breaks
        return error, breaks

    def _content(self, handler, content, headers):
        error, breaks = self._next_fault()
        if error:
            status, more = error if isinstance(error, tuple) else (error, {})
            return self._send(handler, status, more, b"an error page")
        if self.corrupt:
            content = content[:-1] + bytes([content[-1] ^ 1])
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", handler.headers.get("Range") or "")
        status, body = 200, content
        if wanted and self.has_ranges:
            first, last = map(int, wanted.groups())
            status, body = 206, content[first : last + 1]
            headers = headers | {"Content-Range": f"bytes {first}-{last}/{len(content)}"}
        body += b"x" * self.extra_bytes
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if handler.command == "HEAD":
            return None
        end = min(len(body), self.break_after if breaks else len(body))
        block = 1 << 16
        try:
            for begin in range(0, end, block):
                handler.wfile.write(body[begin : min(begin + block, end)])
                if self.gate:
                    self.gate.wait(60)
                if self.bytes_per_second:
                    time.sleep(block / self.bytes_per_second)
        except OSError:  # the client is gone
            handler.close_connection = True
        if breaks:
            handler.close_connection = True
