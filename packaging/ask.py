"""Runs a command that is a server of SmolLM2 on 127.0.0.1:PORT, asks it for an answer, and ends it.

    ask.py PORT COMMAND ...

Prints the answer. Exit code 0 when it answered, and ended with 0 at SIGTERM.
"""

import json
import signal
import subprocess
import sys
import time
import urllib.request

SECONDS = 300  # to start, and to answer: it may be an emulated processor
BODY = {"messages": [{"role": "user", "content": "Why is the sky blue?"}], "max_tokens": 12, "seed": 7, "temperature": 0}


def answer(port):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions",
        json.dumps({"model": "default", **BODY}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=SECONDS) as answered:
        return json.load(answered)["choices"][0]["message"]["content"]


def wait_for(port, process):
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"error: it ended with {process.returncode} before it listened")
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=SECONDS).close()
            return
        except OSError:
            time.sleep(0.2)
    sys.exit("error: it did not start")


def main():
    port, command = sys.argv[1], sys.argv[2:]
    process = subprocess.Popen(command)
    try:
        wait_for(port, process)
        print(json.dumps(answer(port)))
        process.send_signal(signal.SIGTERM)
        if code := process.wait(60):
            sys.exit(f"error: it ended with {code}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


main()
