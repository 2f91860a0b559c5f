"""web/dist, the built page in the repository, is what its sources give."""

import filecmp
import gzip
import hashlib
import shutil
import subprocess

import pytest
from conftest import WEB

DIST = WEB / "dist"


def built_files(folder):
    return sorted(
        path.relative_to(folder)
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in (".html", ".js", ".css", ".svg")
    )


def test_the_built_page_is_of_the_present_sources():
    listed = dict(reversed(line.split("  ", 1)) for line in (DIST / "SOURCES").read_text().splitlines())
    for name, hash in listed.items():
        present = hashlib.sha256((WEB / name).read_bytes()).hexdigest()
        assert present == hash, f"web/{name} has changed: npm ci && npm run build in web/, and commit dist"
    sources = {str(path.relative_to(WEB)) for path in (WEB / "src").rglob("*") if path.is_file()}
    assert sources <= set(listed), "web/src has files that dist was built without"


def test_compressed_forms_hold_the_same():
    for name in built_files(DIST):
        assert gzip.decompress((DIST / f"{name}.gz").read_bytes()) == (DIST / name).read_bytes()
        assert (DIST / f"{name}.br").stat().st_size > 0


def test_the_page_is_small():
    assert sum(path.stat().st_size for path in DIST.rglob("*.gz")) < 250_000


@pytest.mark.skipif(
    not (WEB / "node_modules").exists() or not shutil.which("npx"), reason="needs Node and npm ci in web/"
)
def test_a_build_of_the_sources_gives_the_same_files(tmp_path):
    command = ["npx", "vite", "build", "--logLevel", "error", "--outDir", str(tmp_path)]
    subprocess.run(command, cwd=WEB, check=True, timeout=300)
    names = built_files(DIST)
    assert built_files(tmp_path) == names
    same, different, unreadable = filecmp.cmpfiles(DIST, tmp_path, names, shallow=False)
    assert (different, unreadable) == ([], [])
