"""What a hub, a network or somebody with bad intentions may do to a pull."""

import hashlib
import json
import random
import signal
import subprocess

import pytest

from hub_double import Repository
from test_hub import COMMIT, SMOL, WEIGHTS, Hub, blobs, hub  # noqa: F401: a fixture

Q4 = "Smol-Q4_K_M.gguf"
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


def assert_nothing_came(hub):  # noqa: F811
    assert not (hub.folder() / "snapshots").exists() and not (hub.folder() / "refs").exists()
    if (hub.folder() / "blobs").exists():
        assert not [name for name in blobs(hub) if "." not in name]


def test_connections_that_break_are_tried_again(hub):  # noqa: F811
    hub.break_after, hub.breaks = 3 << 20, 4
    assert open(hub.pull(SMOL), "rb").read() == WEIGHTS
    # What was there of a piece was not asked for again.
    assert len(hub.asked()) == 3 + 4 and hub.fetched() <= len(WEIGHTS) + 4 * (13 << 20)


def test_a_server_that_only_breaks_is_given_up_and_what_came_is_kept(hub):  # noqa: F811
    hub.break_after, hub.breaks = 0, 1000
    refused = hub.refused(SMOL, "--connections", "1")
    assert "broke off" in refused and "tried 6 times, and the same command goes on" in refused
    assert_nothing_came(hub)
    hub.breaks = 0
    hub.pull(SMOL)


def test_a_server_without_ranges_is_asked_for_the_whole(hub):  # noqa: F811
    hub.has_ranges = False
    assert open(hub.pull(SMOL), "rb").read() == WEIGHTS
    hub.mlxd("rm", SMOL)
    hub.forget()
    hub.break_after, hub.breaks = 3 << 20, 2
    assert open(hub.pull(SMOL, "--connections", "1"), "rb").read() == WEIGHTS


@pytest.mark.parametrize("path", [Q4, "config.json"])
def test_damaged_files_are_refused_by_their_hash(hub, path):  # noqa: F811
    if path == "config.json":
        hub.repositories[SMOL] = Repository({"config.json": b"{}", "model.safetensors": b"weights"})
        hub.repositories[SMOL].lfs = ["model.safetensors"]
    hub.corrupt = True
    refused = hub.refused(SMOL)
    assert "damaged on the way" in refused and path in refused
    assert_nothing_came(hub)
    hub.corrupt = False
    hub.pull(SMOL)


def test_a_damaged_beginning_of_an_earlier_pull_is_fetched_again(hub):  # noqa: F811
    folder = hub.folder() / "blobs"
    folder.mkdir(parents=True)
    (folder / f"{SHA256}.mlxd.incomplete").write_bytes(b"x" * 1000)
    ranges = folder / f"{SHA256}.mlxd.ranges"
    ranges.write_text(f"mlxd-ranges-1 {len(WEIGHTS)}\n0 {len(WEIGHTS)} 1000\n")
    assert open(hub.pull(SMOL), "rb").read() == WEIGHTS
    assert hub.fetched() == 2 * len(WEIGHTS) - 1000


@pytest.mark.parametrize(
    "ranges",
    [
        b"", b"\0\xff" * 50, b"mlxd-ranges-1 5\n0 5 5\n", b"mlxd-ranges-1 %d\n0 10 10\n" % len(WEIGHTS),
        b"mlxd-ranges-1 %d\n0 %d 99999999999\n" % (len(WEIGHTS), len(WEIGHTS)),
        b"mlxd-ranges-1 %d\n0 %d -5\n" % (len(WEIGHTS), len(WEIGHTS)),
        b"mlxd-ranges-1 %d\n0 %d 4000000\n" % (len(WEIGHTS), len(WEIGHTS)),  # more than the file has
    ],
)
def test_a_list_of_ranges_that_makes_no_sense_is_forgotten(hub, ranges):  # noqa: F811
    folder = hub.folder() / "blobs"
    folder.mkdir(parents=True)
    (folder / f"{SHA256}.mlxd.incomplete").write_bytes(b"x" * 1000)
    (folder / f"{SHA256}.mlxd.ranges").write_bytes(ranges)
    assert open(hub.pull(SMOL), "rb").read() == WEIGHTS
    assert hub.fetched() == len(WEIGHTS)


def test_sizes_that_lie_are_refused(hub):  # noqa: F811
    lfs = {"sha256": SHA256, "size": len(WEIGHTS) - 1, "pointerSize": 134}
    hub.repositories[SMOL].listed[Q4] = {"lfs": lfs}
    assert f"it has {len(WEIGHTS)} bytes" in hub.refused(SMOL)
    assert_nothing_came(hub)
    hub.repositories[SMOL].listed = {}
    hub.headers = {"X-Linked-Size": "7"}
    assert "it has 7 bytes" in hub.refused(SMOL + ":Q8_0")
    hub.headers = {"X-Linked-Etag": '"%s"' % ("e" * 64)}
    assert "e" * 64 in hub.refused(SMOL + ":Q8_0")
    hub.headers = {}
    hub.extra_bytes = 5
    assert "more bytes" in hub.refused(SMOL + ":Q8_0")
    assert_nothing_came(hub)


def test_a_file_of_another_commit_is_refused(hub):  # noqa: F811
    hub.repositories[SMOL] = Repository({"config.json": b"{}", "model.safetensors": b"weights"})
    hub.headers = {"X-Repo-Commit": "f" * 40}
    assert "f" * 40 in hub.refused(SMOL)
    assert_nothing_came(hub)


def test_the_disk_is_asked_for_room_first(hub):  # noqa: F811
    hub.repositories[SMOL].listed[Q4] = {"lfs": {"sha256": SHA256, "size": 1 << 45}}
    refused = hub.refused(SMOL)
    assert "35 TB is needed" in refused and "is free there" in refused and "HF_HOME" in refused
    assert hub.asked() == [] and blobs(hub) == []


@pytest.mark.parametrize(
    "status,headers,token,words",
    [
        (401, {"X-Error-Code": "RepoNotFound"}, "", ["check its name", "set HF_TOKEN"]),
        (401, {"X-Error-Code": "RepoNotFound"}, "hf_x", ["check its name", "token in use"]),
        (403, {"X-Error-Code": "GatedRepo"}, "", ["accepted its terms", "/" + SMOL, "HF_TOKEN"]),
        (401, {"X-Error-Code": "GatedRepo"}, "hf_x", ["accepted its terms", "whose token"]),
        (429, {"Retry-After": "77"}, "", ["77 seconds", "HF_TOKEN"]),
        (429, {}, "hf_x", ["try again later"]),
        (404, {}, "", ["check the name"]),
        (500, {}, "", ["status 500", "later"]),
        (418, {}, "", ["status 418"]),
    ],
)
def test_each_refusal_says_what_to_do(hub, status, headers, token, words):  # noqa: F811
    hub.answer = (status, headers, b"<html>")
    refused = hub.refused(SMOL, env={"HF_TOKEN": token})
    assert all(word in refused for word in words), refused


def test_refusals_of_bytes_are_tried_again_where_that_helps(hub):  # noqa: F811
    hub.errors = [503, (429, {"Retry-After": "1"}), 500]
    hub.pull(SMOL)
    hub.mlxd("rm", SMOL)
    hub.errors = [403] * 10
    assert "accepted its terms" in hub.refused(SMOL)
    hub.errors = [(429, {"Retry-After": "9999"})] * 10
    assert "9999 seconds" in hub.refused(SMOL)


def listing(**changes):
    return {"sha": COMMIT, "siblings": []} | changes


def sibling(path, **changes):
    return {"rfilename": path, "size": 1, "blobId": "a" * 40} | changes


@pytest.mark.parametrize(
    "answer,words",
    [
        ("<html>", "no JSON object"),
        ("[]", "no JSON object"),
        ("[" * 5000, "no JSON object"),
        (listing(sha="../../x"), "no commit"),
        (listing(sha=5), "no commit"),
        (listing(siblings={}), "no list"),
        (listing(siblings=[5]), "no object"),
        (listing(siblings=[sibling("a.gguf", size=-1)]), "no size"),
        (listing(siblings=[sibling("a.gguf", size=2**60)]), "no size"),
        (listing(siblings=[sibling("a.gguf", size=1e300)]), "no size"),
        (listing(siblings=[sibling("a.gguf", blobId="../../../etc/passwd")]), "no hash"),
        (listing(siblings=[sibling("a.gguf", lfs={"sha256": "x", "size": 1})]), "no hash"),
        (listing(siblings=[sibling("a.gguf", blobId=None)]), "no hash"),
        (listing(), "it has no files"),
        (listing(siblings=[sibling("../../../a.gguf"), sibling("/etc/a.gguf"), sibling("a/../b.gguf"),
                           sibling("a//b.gguf"), sibling("a\0.gguf"), sibling("a\n.gguf"),
                           sibling("..\\a.gguf"), sibling("./a.gguf"), sibling("x" * 300 + ".gguf"),
                           sibling(5), sibling("")]), "it has no files"),
    ],
)
def test_lists_that_nobody_should_believe(hub, answer, words):  # noqa: F811
    text = answer if isinstance(answer, str) else json.dumps(answer)
    hub.answer = (200, {}, text.encode())
    assert words in hub.refused(SMOL)
    assert not hub.folder().exists()


def test_a_list_without_end_is_refused(hub):  # noqa: F811
    hub.answer = (200, {}, b" " * (33 << 20))
    assert "more than 32 MiB" in hub.refused(SMOL)


@pytest.mark.parametrize("id", ["model", "a/b/c", "../b", "a/..", "/a/b", "a/b:", "a/b@", "a/b@../x", "a/b:../q",
                                "a b/c", "-a/b", "a--b/c", "a/b@x//y", "hf:", ""])
def test_what_is_no_id_is_refused_before_anybody_is_asked(hub, id):  # noqa: F811
    assert "owner/name" in hub.refused("--", id)
    assert hub.requests == [] and not hub.folder().exists()


def test_redirects_come_to_an_end(hub):  # noqa: F811
    hub.redirect = f"/{SMOL}/resolve/main/{Q4}"
    assert "sends on" in hub.refused(SMOL)


def test_a_hub_that_is_not_there(hub):  # noqa: F811
    hub.close()
    refused = hub.refused(SMOL)
    assert "cannot be reached" in refused and "HTTPS_PROXY" in refused
    assert "HF_ENDPOINT" in hub.refused(SMOL, env={"HF_ENDPOINT": "ftp://localhost"})


def test_a_proxy_is_gone_through(hub):  # noqa: F811
    proxy = {"http_proxy": hub.url, "HF_ENDPOINT": "http://hub.invalid"}
    hub.answer = (418, {}, b"")
    hub.refused(SMOL, env=proxy)
    assert [r.path for r in hub.asked("hub")] == [f"http://hub.invalid/api/models/{SMOL}/revision/main?blobs=true"]


@pytest.fixture
def https_hub(tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )
    double = Hub(tmp_path / "hf", (str(certificate), str(key)))
    double.repositories[SMOL] = Repository({Q4: WEIGHTS})
    double.environment["SSL_CERT_FILE"] = str(certificate)
    yield double
    double.close()


def test_https_checks_certificates_and_never_goes_back_to_http(https_hub, hub):  # noqa: F811
    assert open(https_hub.pull(SMOL), "rb").read() == WEIGHTS
    https_hub.mlxd("rm", SMOL)
    assert "certificate" in https_hub.refused(SMOL, env={"SSL_CERT_FILE": ""})
    https_hub.redirect = f"{hub.bytes_url}/{SMOL}?path={Q4}"
    assert "not https" in https_hub.refused(SMOL)
    assert hub.requests == []


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_the_bytes_are_right_in_the_end(hub, seed):  # noqa: F811
    generator = random.Random(seed)
    for _ in range(6):
        hub.break_after, hub.breaks = generator.randrange(20 << 20), generator.randrange(6)
        hub.errors = generator.choices([503, 500, (429, {"Retry-After": "0"}), 404], k=generator.randrange(3))
        hub.has_ranges = generator.random() < 0.8
        hub.corrupt = generator.random() < 0.2
        hub.bytes_per_second = generator.choice([None, 50 << 20])
        pulling = hub.start("pull", SMOL, "--connections", str(generator.randint(1, 4)))
        try:
            pulling.wait(generator.choice([0.3, 1, 60]))
        except subprocess.TimeoutExpired:
            pulling.send_signal(generator.choice([signal.SIGINT, signal.SIGKILL, signal.SIGTERM]))
        pulling.communicate(timeout=60)
        for name in blobs(hub) if (hub.folder() / "blobs").exists() else ():
            assert "." in name or hashlib.sha256((hub.folder() / "blobs" / name).read_bytes()).hexdigest() == name
        if generator.random() < 0.3:
            hub.mlxd("rm", SMOL)
    hub.breaks, hub.errors, hub.has_ranges, hub.corrupt, hub.bytes_per_second = 0, [], True, False, None
    assert open(hub.pull(SMOL), "rb").read() == WEIGHTS
    assert blobs(hub) == [SHA256]
