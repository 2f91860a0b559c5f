"""A Python wheel of the program: `mlxd` on the PATH, and the module mlxd.

    wheel.py --version V --tag PLATFORM --tree DIR --licences DIR --sbom FILE --out DIR

Of the tree it takes bin/mlxd and, where there is one, lib/, which an installer puts beside each other.

Put together by hand, since there is nothing to compile: the same files give the same bytes.
"""

import argparse
import base64
import hashlib
import os
import pathlib
import time
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[1]

METADATA = """\
Metadata-Version: 2.4
Name: mlxd
Version: {version}
Summary: A native inference server for MLX and GGUF language models, with the OpenAI API
License-Expression: Apache-2.0
License-File: LICENSE
License-File: NOTICE
Requires-Python: >=3.9
Classifier: Environment :: Console
Classifier: Operating System :: {system}
Classifier: Programming Language :: Python :: 3
Classifier: Typing :: Typed
Description-Content-Type: text/markdown

{description}"""


def main():
    parser = argparse.ArgumentParser()
    for name in ("version", "tag"):
        parser.add_argument("--" + name, required=True)
    for name in ("tree", "licences", "sbom", "out"):
        parser.add_argument("--" + name, required=True, type=pathlib.Path)
    options = parser.parse_args()
    info, data = f"mlxd-{options.version}.dist-info", f"mlxd-{options.version}.data"
    system = "MacOS" if options.tag.startswith("macosx") else "POSIX :: Linux"
    description = (ROOT / "packaging/python/README.md").read_text()

    files = {}  # place in the wheel: (bytes, mode)
    for path in sorted((ROOT / "packaging/python/mlxd").iterdir()):
        if path.is_file():
            files[f"mlxd/{path.name}"] = (path.read_bytes(), 0o644)
    files[f"{data}/scripts/mlxd"] = ((options.tree / "bin/mlxd").read_bytes(), 0o755)
    for path in sorted(p for p in (options.tree / "lib").rglob("*") if p.is_file()):
        files[f"{data}/data/{path.relative_to(options.tree)}"] = (path.read_bytes(), 0o644)
    for name in ("LICENSE", "NOTICE"):
        files[f"{info}/licenses/{name}"] = ((ROOT / name).read_bytes(), 0o644)
    for path in sorted(p for p in options.licences.rglob("*") if p.is_file()):
        files[f"{info}/licenses/linked/{path.relative_to(options.licences)}"] = (path.read_bytes(), 0o644)
    files[f"{info}/sboms/mlxd.cdx.json"] = (options.sbom.read_bytes(), 0o644)
    text = METADATA.format(version=options.version, system=system, description=description)
    files[f"{info}/METADATA"] = (text.encode(), 0o644)
    tag = f"py3-none-{options.tag}"
    wheel = f"Wheel-Version: 1.0\nGenerator: mlxd packaging\nRoot-Is-Purelib: false\nTag: {tag}\n"
    files[f"{info}/WHEEL"] = (wheel.encode(), 0o644)
    rows = []
    for place, (content, _) in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append(f"{place},sha256={digest},{len(content)}\n")
    record = "".join(rows) + f"{info}/RECORD,,\n"
    files[f"{info}/RECORD"] = (record.encode(), 0o644)

    date = time.gmtime(max(int(os.environ["SOURCE_DATE_EPOCH"]), 315532800))[:6]
    target = options.out / f"mlxd-{options.version}-{tag}.whl"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for place, (content, mode) in files.items():
            entry = zipfile.ZipInfo(place, date)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100000 | mode) << 16
            entry.create_system = 3
            archive.writestr(entry, content)


main()
