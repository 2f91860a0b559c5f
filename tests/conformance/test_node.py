"""The official Node client and the AI SDK, where node and npm exist."""

import shutil
import subprocess

import pytest

from conftest import MODEL, ROOT

HERE = ROOT / "tests/conformance/node"


def node_version():
    if not shutil.which("node") or not (HERE / "node_modules").exists():
        return 0
    return int(subprocess.run(["node", "-p", "process.versions.node"], capture_output=True, text=True).stdout.split(".")[0])


pytestmark = pytest.mark.skipif(node_version() < 20, reason="no node of version 20 or newer, or no npm")


def check(program, server, model):
    result = subprocess.run(
        ["node", program, server.url, model], cwd=HERE, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "ok"


def test_four_paths_with_the_node_client(server):
    check("four_paths.mjs", server, MODEL)


def test_text_tools_schemas_and_errors_with_the_ai_sdk_by_all_its_providers(scripted):
    check("ai_sdk.mjs", scripted, "qwen")
