"""A collector of traces: OTLP over HTTP, read by the protocol's own library."""

import base64
import http.server
import json
import threading
import time

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

IDS = ("traceId", "spanId", "parentSpanId")


def with_ids_in_base64(value):
    """OTLP's JSON is that of protobuf, but for its ids, which are in hexadecimal."""
    if isinstance(value, list):
        return [with_ids_in_base64(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: base64.b64encode(bytes.fromhex(item)).decode() if key in IDS else with_ids_in_base64(item)
        for key, item in value.items()
    }


def read_export(body):
    """What a body asks to be stored. A field that the protocol has not is an error."""
    request = trace_service_pb2.ExportTraceServiceRequest()
    json_format.ParseDict(with_ids_in_base64(json.loads(body)), request)
    return request


def value_of(value):
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [value_of(item) for item in value.array_value.values]
    return getattr(value, kind)


def attributes_of(owner):
    found = {attribute.key: value_of(attribute.value) for attribute in owner.attributes}
    assert len(found) == len(owner.attributes), "a name stands twice"
    return found


class Span:
    def __init__(self, span, resource, scope):
        self.name = span.name
        self.trace_id, self.id, self.parent = (
            x.hex() for x in (span.trace_id, span.span_id, span.parent_span_id)
        )
        self.trace_state = span.trace_state
        self.kind = trace_pb2.Span.SpanKind.Name(span.kind)
        self.begin, self.end = span.start_time_unix_nano, span.end_time_unix_nano
        self.attributes = attributes_of(span)
        self.status = trace_pb2.Status.StatusCode.Name(span.status.code)
        self.parent_is_remote = bool(span.flags & trace_pb2.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK)
        self.is_sampled = bool(span.flags & 1)
        self.resource, self.scope = resource, scope


class Collector:
    """`answers` are the statuses, with headers, of the next requests; afterwards it takes all."""

    def __init__(self):
        self.answers = []
        self.spans = []
        self.requests = []  # (path, headers, body, time)
        self.failure = None
        self._changed = threading.Condition()
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, headers, answer = collector.take(self.path, dict(self.headers), body)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *arguments):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def take(self, path, headers, body):
        with self._changed:
            self.requests.append((path, headers, body, time.monotonic()))
            self._changed.notify_all()
            if self.answers:
                return *self.answers.pop(0), b"{}"
            try:
                request = read_export(body)
            except Exception as error:
                self.failure = error
                return 400, {}, b"{}"
            for resource_spans in request.resource_spans:
                for scope_spans in resource_spans.scope_spans:
                    for span in scope_spans.spans:
                        self.spans.append(
                            Span(span, attributes_of(resource_spans.resource), scope_spans.scope)
                        )
            return 200, {}, b"{}"

    def wait_for(self, condition, seconds=60):
        with self._changed:
            assert self._changed.wait_for(lambda: self.failure or condition(self), seconds), (
                "it did not come; there are " + ", ".join(span.name for span in self.spans)
            )
        assert self.failure is None, self.failure

    def trace_of(self, request_id):
        """The span of the request with this x-request-id, and its parts by their names."""

        def root():
            name = "http.response.header.x-request-id"
            return [span for span in self.spans if span.attributes.get(name) == [request_id]]

        self.wait_for(lambda _: root())
        (request,) = root()
        parts = [span for span in self.spans if span.parent == request.id]
        assert len({part.name for part in parts}) == len(parts)
        return request, {part.name: part for part in parts}

    def close(self):
        self._server.shutdown()
        self._server.server_close()
