"""Jinja2 set up as `transformers` sets it up for chat templates (utils/chat_template_utils.py)."""

import copy
import json
import multiprocessing
import resource

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Generation(Extension):
    """`{% generation %}` marks the assistant's words for training; it renders what it holds."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def _raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def _tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(
        x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def environment():
    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
    )
    env.filters["tojson"] = _tojson
    env.globals["raise_exception"] = _raise_exception
    env.globals["strftime_now"] = lambda format: format
    return env


ENVIRONMENT = environment()


def render(template, document, tokens=None):
    """The text, or None where it raises. `document` as ChatTemplate::render takes it."""
    document = copy.deepcopy(document)  # `indent` appends to a list that it is given by mistake
    variables = dict(tokens or {})
    variables.update(document.get("chat_template_kwargs") or {})
    try:
        return ENVIRONMENT.from_string(template).render(
            messages=document["messages"],
            tools=document.get("tools"),
            documents=document.get("documents"),
            add_generation_prompt=document.get("add_generation_prompt", True),
            **variables,
        )
    except Exception:
        return None


class Bounded:
    """`render` in a process of its own: Jinja2 itself bounds neither the time nor the memory of a
    template, and computes `9 ** 9 ** 9` to its end, which nothing in the same process can stop."""

    SECONDS, BYTES = 5, 2 << 30

    def __init__(self):
        self._start()

    def _start(self):
        self._pipe, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.Process(target=self._serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    @classmethod
    def _serve(cls, pipe):
        resource.setrlimit(resource.RLIMIT_AS, (cls.BYTES, cls.BYTES))
        while True:
            pipe.send(render(*pipe.recv()))

    def render(self, template, document, tokens=None):
        """As `render`; TimeoutError where it takes longer."""
        self._pipe.send((template, document, tokens))
        if self._pipe.poll(self.SECONDS):
            return self._pipe.recv()
        self.close()
        self._start()
        raise TimeoutError(template)

    def close(self):
        self._process.kill()
        self._process.join()
        self._pipe.close()
