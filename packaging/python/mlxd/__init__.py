"""mlxd, an inference server for MLX and GGUF models, started from Python.

    import mlxd

    with mlxd.serve(model="model.gguf") as server:
        print(server.url)  # http://127.0.0.1:PORT, for any OpenAI client with /v1 behind it
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import urllib.error
import urllib.request
from collections import deque
from types import TracebackType
from typing import Mapping, Optional, Sequence, Type, Union

__all__ = ["MlxdError", "Server", "binary", "serve"]

Option = Union[str, int, float, bool, "os.PathLike[str]", Sequence["str | os.PathLike[str]"], None]

_LISTENING = re.compile(r"listening on (http://[^\s\"]+)")
_LAST_LINES = 30  # of the log, told when the server does not start


class MlxdError(RuntimeError):
    """The server did not start, or ended by itself; the text ends with the last lines of its log."""


def binary() -> str:
    """The path of the program: $MLXD_BINARY, that of this package, or the one on the PATH."""
    named = os.environ.get("MLXD_BINARY")
    if named:
        return named
    for scheme in (None, "user"):
        folder = _scripts(scheme)
        if folder and os.access(os.path.join(folder, "mlxd"), os.X_OK):
            return os.path.join(folder, "mlxd")
    found = shutil.which("mlxd")
    if found is None:
        raise MlxdError("there is no program mlxd on the PATH; MLXD_BINARY may name one")
    return found


def _scripts(scheme: Optional[str]) -> Optional[str]:
    if scheme is None:
        return sysconfig.get_path("scripts")
    name = f"{os.name}_{scheme}"
    return sysconfig.get_path("scripts", name) if name in sysconfig.get_scheme_names() else None


class Server:
    """A running `mlxd serve`. Use it in a with-block, or call stop(). Any thread may."""

    url: str
    """Where it listens: http://HOST:PORT, without a slash at its end."""

    def __init__(self, command: Sequence[str], environment: Optional[Mapping[str, str]], timeout: float) -> None:
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._listening = threading.Event()  # or ended
        self._found: Optional[str] = None
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, **(environment or {}), "MLXD_LOG_LEVEL": "info"},  # in which it says where
        )
        self._reader = threading.Thread(target=self._read, name="mlxd-log", daemon=True)
        self._reader.start()
        try:
            # The models are loaded when the address is told, so that what answers /health is ready.
            if not self._listening.wait(timeout):
                raise MlxdError(f"mlxd did not start within {timeout:g} seconds\n{self.log()}")
            if self._found is None:
                self._process.wait()
                raise MlxdError(f"mlxd did not start\n{self.log()}")
            self.url = self._found
            self._check_health()
        except BaseException:
            self.stop(timeout=0)
            raise

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line.rstrip("\n"))
            found = _LISTENING.search(line)
            if found and self._found is None:
                self._found = found.group(1).rstrip("/")
                self._listening.set()
        self._listening.set()

    def _check_health(self) -> None:
        try:
            # This machine asks itself: no proxy is meant.
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            opener.open(self.url + "/health", timeout=60).close()
        except (urllib.error.URLError, OSError) as error:
            raise MlxdError(f"mlxd is not well: {error}\n{self.log()}") from error

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> Optional[int]:
        """None while it runs."""
        return self._process.poll()

    def log(self) -> str:
        """The last lines that it wrote."""
        return "\n".join(self._lines)

    def stop(self, timeout: float = 60) -> int:
        """Lets running answers end (--drain-timeout), and returns the exit code. What has not ended
        after `timeout` seconds is killed. Harmless when it has ended already."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                self._process.kill()
        code = self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()
        return code

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.stop()


def serve(
    model: Union[str, "os.PathLike[str]", Sequence[Union[str, "os.PathLike[str]"]]],
    *,
    port: int = 0,
    environment: Optional[Mapping[str, str]] = None,
    start_timeout: float = 600,
    **options: Option,
) -> Server:
    """Starts `mlxd serve` and waits until it answers.

    model: a file, a folder, an id, "hf:OWNER/NAME" or "NAME=FILE"; or several.
    port: 0 takes a free one.
    environment: variables beside those of this process, such as HF_TOKEN.
    options: those of `mlxd help serve`, with _ for -: kv_cache_gb=2, no_web=True, alias=["a=b"]. Its log
        is read here, so that log_level stays at info.
    """
    if options.get("log_level", "info") not in ("debug", "info"):
        raise ValueError("log_level: the log says where the server listens; leave it at info")
    command = [binary(), "serve"]
    models = [model] if isinstance(model, (str, os.PathLike)) else list(model)
    for each in models:
        command += ["--model", os.fspath(each)]
    command += ["--port", str(port)]
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            command.append(flag)
        elif value is None or value is False:
            continue
        elif isinstance(value, (str, int, float, os.PathLike)):
            command += [flag, str(value)]
        else:
            for each in value:
                command += [flag, str(each)]
    return Server(command, environment, start_timeout)


def _main() -> None:  # python -m mlxd
    program = binary()
    os.execv(program, [program, *sys.argv[1:]])
