"""The official Node client, where node and npm exist."""

import shutil
import subprocess

import pytest

from conftest import MODEL, ROOT

HERE = ROOT / "tests/conformance/node"


@pytest.mark.skipif(
    not shutil.which("node") or not (HERE / "node_modules").exists(), reason="no node or npm here"
)
def test_four_paths_with_the_node_client(server):
    result = subprocess.run(
        ["node", "four_paths.mjs", server.url, MODEL], cwd=HERE, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "ok"
