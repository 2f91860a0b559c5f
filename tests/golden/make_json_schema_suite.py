"""Writes json_schema_suite.json: the required tests of the public JSON Schema Test Suite (MIT, its
LICENSE) of drafts 7 and 2020-12, as far as they need no other documents, for
rust/textkit/tests/constraint.rs.

    python tests/golden/make_json_schema_suite.py CHECKOUT

CHECKOUT is a clone of github.com/json-schema-org/JSON-Schema-Test-Suite; its commit is written
down in the file.
"""

import json
import pathlib
import subprocess
import sys

checkout = pathlib.Path(sys.argv[1])


def git(*arguments):
    return subprocess.run(
        ["git", "-C", checkout, *arguments], check=True, capture_output=True, text=True
    ).stdout


groups = []
for draft in ("draft7", "draft2020-12"):
    for name in git("ls-tree", "--name-only", "HEAD", f"tests/{draft}/").split():
        if not name.endswith(".json"):
            continue
        text = git("show", f"HEAD:{name}")
        for group in json.loads(text):
            if "localhost:1234" in json.dumps(group["schema"]):
                continue  # another document
            tests = [[t["data"], t["valid"]] for t in group["tests"]]
            groups.append([f"{draft}/{pathlib.Path(name).stem}: {group['description']}", group["schema"], tests])
suite = {
    "source": "github.com/json-schema-org/JSON-Schema-Test-Suite, tests/, "
    + git("rev-parse", "HEAD").strip(),
    "license": git("show", "HEAD:LICENSE"),
    "groups": groups,
}
out = pathlib.Path(__file__).with_name("json_schema_suite.json")
lines = ",\n".join(json.dumps(g, ensure_ascii=False) for g in suite.pop("groups"))
head = json.dumps(suite, ensure_ascii=False)[:-1]
out.write_text(f'{head},\n"groups":[\n{lines}\n]}}\n')
