"""What stands at the server's address, by who asks and how it was started."""

import json
import re
import urllib.error
import urllib.request

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def get(server, path="/", headers=BROWSER, method="GET"):
    request = urllib.request.Request(server.url + path, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def test_browsers_get_the_page_and_programs_the_index(server):
    status, headers, body = get(server)
    assert status == 200 and headers["content-type"].startswith("text/html") and '<div id="page">' in body
    script = re.search(r'src="\./(assets/[^"]+\.js)"', body).group(1)
    assert get(server, f"/{script}")[0] == 200
    status, headers, body = get(server, headers={})
    assert json.loads(body)["name"] == "mlxd" and headers["vary"] == "accept"
    # Claude Code asks so, to see whether anybody is there.
    assert get(server, headers={}, method="HEAD")[0] == 200
    assert get(server, headers=BROWSER | {"If-None-Match": get(server)[1]["etag"]})[0] == 304


def test_without_the_page_everybody_gets_the_index(start_server):
    for server in (start_server("--no-web"), start_server(environment={"MLXD_NO_WEB": "1"})):
        status, headers, body = get(server)
        assert status == 200 and json.loads(body)["name"] == "mlxd"
        status, _, body = get(server, "/assets/index.js")
        assert status == 404 and "error" in json.loads(body)


def test_the_page_needs_no_key_but_what_it_asks_does(start_server):
    server = start_server("--api-key", "sesame")
    assert get(server)[0] == 200
    assert get(server, "/v1/models")[0] == 401
