"""What a program made by scripts/package contains: its SBOM (CycloneDX 1.6) and the licence texts.

    components.py --target TARGET --version V --headers DIR --crates DIR --zig DIR --mlx DIR \
                  --rustc RUSTC --cargo-target TRIPLE --sbom FILE --licences DIR

Every component is in both or in neither. One without a licence text is an error, but for a few Rust
crates whose packages ship none: of these the name and licence are in the SBOM.
"""

import argparse
import datetime
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[1]

# Debian's packages of headers and sources, as packaging/pins names them: what each is to others.
CPP = {
    "libboost1.81-dev": ("Boost", "pkg:github/boostorg/boost", "BSL-1.0"),
    "libcli11-dev": ("CLI11", "pkg:github/CLIUtils/CLI11", "BSD-3-Clause"),
    "libfmt-dev": ("fmt", "pkg:github/fmtlib/fmt", "MIT"),
    "libspdlog-dev": ("spdlog", "pkg:github/gabime/spdlog", "MIT"),
    "libtomlplusplus-dev": ("toml++", "pkg:github/marzer/tomlplusplus", "MIT"),
    "prometheus-cpp-dev": ("prometheus-cpp", "pkg:github/jupp0r/prometheus-cpp", "MIT"),
}


class Component:
    def __init__(self, name, version, purl, licence, texts):
        self.name, self.version, self.purl, self.licence = name, version, purl, licence
        self.texts = [pathlib.Path(t) for t in texts]

    def bom(self):
        # A plain id where there is one, else an SPDX expression; Cargo's older form has a slash.
        licence = re.sub(r"\s*/\s*", " OR ", self.licence).strip()
        simple = re.fullmatch(r"[A-Za-z0-9.+-]+", licence)
        return {
            "type": "library",
            "bom-ref": self.purl,
            "name": self.name,
            "version": self.version,
            "purl": self.purl,
            "licenses": [{"license": {"id": licence}} if simple else {"expression": licence}],
        }


def upstream_version(debian):
    """1:1.10.0+ds-0.4 is 1.10.0."""
    return re.sub(r"\+ds.*", "", debian.split(":")[-1].rsplit("-", 1)[0])


def cpp_libraries(headers):
    for line in (ROOT / "packaging/pins").read_text().splitlines():
        if line.startswith("headers"):
            _, package, version, _ = line.split()
            name, purl, licence = CPP[package]
            version = upstream_version(version)
            text = headers / "usr/share/doc" / package / "copyright"
            yield Component(name, version, f"{purl}@{version}", licence, [text])


def c_libraries(crates):
    lock = (ROOT / "packaging/sources/Cargo.lock").read_text()
    for crate, name, purl, licence, text in (
        ("openssl-src", "OpenSSL", "pkg:github/openssl/openssl", "Apache-2.0", "openssl/LICENSE.txt"),
        ("curl-sys", "curl", "pkg:github/curl/curl", "curl", "curl/COPYING"),
    ):
        # The version of what is inside stands behind the crate's own.
        version = re.search(rf'name = "{crate}"\nversion = "[^"+]+\+(?:curl-)?([^"]+)"', lock).group(1)
        yield Component(name, version, f"{purl}@{version}", licence, [crates / crate / text])


def compiler_libraries(zig, target):
    lib = zig / "ziglang/lib"
    about = subprocess.run([zig / "ziglang/zig", "cc", "--version"], capture_output=True, text=True, check=True)
    llvm = re.search(r"version (\S+)", about.stdout).group(1)
    # On macOS these are the system's own, but for what headers hold.
    for part in ("libcxx",) if target.endswith("macos") else ("libcxx", "libcxxabi", "libunwind"):
        yield Component(
            f"LLVM {part}", llvm, f"pkg:generic/llvm-{part}@{llvm}", "Apache-2.0 WITH LLVM-exception",
            [lib / part / "LICENSE.TXT"],
        )
    version = re.search(r"ziglang\s+(\S+)", (ROOT / "packaging/pins").read_text()).group(1)
    yield Component("zig compiler-rt", version, f"pkg:generic/zig@{version}", "MIT", [zig / "ziglang/LICENSE"])
    if target.endswith("linux"):
        # Where a program of glibc begins: crt1.o and libc_nonshared.a are linked into it.
        yield Component(
            "glibc start files", "2.28", "pkg:generic/glibc@2.28", "LGPL-2.1-or-later",
            [lib / "libc/glibc/LICENSES"],
        )


def mlx_library(mlx, target):
    """Of macOS alone; the wheel's folder, with the kernels that lie beside the library."""
    if target.endswith("macos"):
        info = next(mlx.glob("mlx_metal-*.dist-info"))
        version = info.name.removeprefix("mlx_metal-").removesuffix(".dist-info")
        yield Component("MLX", version, f"pkg:pypi/mlx-metal@{version}", "MIT", [info / "licenses/LICENSE"])


def rust_library(rustc):
    version = subprocess.run([rustc, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    sysroot = subprocess.run([rustc, "--print", "sysroot"], capture_output=True, text=True, check=True).stdout.strip()
    doc = pathlib.Path(sysroot) / "share/doc"
    texts = [*doc.glob("rust/COPYRIGHT-library.html"), *doc.glob("rust/licenses/*.txt")]
    texts = texts or list(doc.glob("libstd-rust*-dev/copyright"))
    yield Component("Rust standard library", version, f"pkg:generic/rust-std@{version}", "MIT OR Apache-2.0", texts)


def rust_crates(triple):
    """What textkit links: its normal dependencies for the target, and theirs."""
    told = subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", triple,
         "--manifest-path", ROOT / "rust/textkit/Cargo.toml"],
        capture_output=True, text=True,
    )
    if told.returncode:
        sys.exit(f"error: cargo metadata: {told.stderr.strip()}")
    metadata = json.loads(told.stdout)
    packages = {p["id"]: p for p in metadata["packages"]}
    nodes = {n["id"]: n for n in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    linked, waiting = set(), [root]
    while waiting:
        for dependency in nodes[waiting.pop()]["deps"]:
            normal = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            macro = any("proc-macro" in t["kind"] for t in packages[dependency["pkg"]]["targets"])
            if normal and not macro and dependency["pkg"] not in linked:
                linked.add(dependency["pkg"])
                waiting.append(dependency["pkg"])
    for package in sorted((packages[i] for i in linked), key=lambda p: (p["name"], p["version"])):
        folder = pathlib.Path(package["manifest_path"]).parent
        texts = sorted(
            path for path in folder.iterdir()
            if path.is_file() and re.match(r"(LICEN[CS]E|COPYING|UNLICENSE|NOTICE)", path.name, re.I)
        )
        purl = f"pkg:cargo/{package['name']}@{package['version']}"
        yield Component(package["name"], package["version"], purl, package["license"], texts)


def page_libraries():
    text = ROOT / "web/dist/LICENSES.md"
    for name, version, licence in re.findall(r"^## (\S+) - (\S+) \((.+)\)$", text.read_text(), re.M):
        licence = licence.strip("()") if licence.startswith("(") else licence
        yield Component(name, version, f"pkg:npm/{name.replace('@', '%40')}@{version}", licence, [text])


def write_sbom(path, options, components):
    date = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.timezone.utc)
    purl = f"pkg:generic/mlxd@{options.version}?target={options.target}"
    bom = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        # The same for the same content, as all that a package holds.
        "serialNumber": "urn:uuid:" + str(uuid.uuid5(uuid.NAMESPACE_URL, purl + str(sorted(c.purl for c in components)))),
        "version": 1,
        "metadata": {
            "timestamp": date.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "application", "bom-ref": purl, "name": "mlxd", "version": options.version, "purl": purl,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            },
        },
        "components": [c.bom() for c in components],
        "dependencies": [{"ref": purl, "dependsOn": [c.purl for c in components]}],
    }
    path.write_text(json.dumps(bom, indent=1, ensure_ascii=False) + "\n")


def write_licences(folder, components):
    shutil.rmtree(folder, ignore_errors=True)
    for component in components:
        if not component.texts:
            if component.purl.startswith("pkg:cargo/"):
                print(f"note: the package of {component.name} {component.version} has no text of its licence, "
                      f"{component.licence}", file=sys.stderr)
                continue
            sys.exit(f"error: there is no licence text of {component.name}")
        if component.purl.startswith("pkg:npm/"):
            place = folder / "page"
        else:
            name = re.sub(r"[^A-Za-z0-9.+-]+", "-", f"{component.name}-{component.version}").strip("-")
            place = folder / ("rust" if component.purl.startswith("pkg:cargo/") else "") / name
        place.mkdir(parents=True, exist_ok=True)
        for text in component.texts:
            shutil.copyfile(text, place / text.name)


def main():
    parser = argparse.ArgumentParser()
    for name in ("target", "version", "cargo-target"):
        parser.add_argument("--" + name, required=True)
    for name in ("headers", "crates", "zig", "mlx", "rustc", "sbom", "licences"):
        parser.add_argument("--" + name, required=True, type=pathlib.Path)
    options = parser.parse_args()
    components = [
        *cpp_libraries(options.headers),
        *c_libraries(options.crates),
        *compiler_libraries(options.zig, options.target),
        *mlx_library(options.mlx, options.target),
        *rust_library(options.rustc),
        *rust_crates(options.cargo_target),
        *page_libraries(),
    ]
    write_sbom(options.sbom, options, components)
    write_licences(options.licences, components)


main()
