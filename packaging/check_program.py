"""What a packaged program must be, read from the file itself, since it may be another system's.

    check_program.py x86_64-linux|aarch64-linux|aarch64-macos PROGRAM

Linux: the processor, no symbol of a C library newer than glibc 2.28, no library that is not the C
library's, position-independent, no run path. macOS: arm64, made for macOS 14, no library outside
the system but those that it finds beside itself. Neither names a folder of the machine it was made on.
"""

import pathlib
import re
import struct
import subprocess
import sys

GLIBC = (2, 28)
LIBRARIES = {"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libresolv.so.2"}
LOADERS = {"x86_64-linux": "ld-linux-x86-64.so.2", "aarch64-linux": "ld-linux-aarch64.so.1"}
MACHINES = {"x86_64-linux": 62, "aarch64-linux": 183}


def check(condition, sentence):
    if not condition:
        sys.exit(f"error: {sys.argv[2]}: {sentence}")


def check_elf(target, path, data):
    check(data[:4] == b"\x7fELF" and data[4] == 2, "no 64-bit ELF file")
    kind, machine = struct.unpack_from("<HH", data, 16)
    check(machine == MACHINES[target], f"for processor {machine}")
    check(kind == 3, "not position-independent")
    told = subprocess.run(["objdump", "-p", path], capture_output=True, text=True, check=True).stdout
    needed = set(re.findall(r"NEEDED\s+(\S+)", told))
    check(needed <= LIBRARIES | {LOADERS[target]}, f"needs {sorted(needed - LIBRARIES)}")
    check(not re.search(r"\bR(UN)?PATH\b", told), "has a run path")
    versions = {tuple(map(int, v.split("."))) for v in re.findall(r"GLIBC_([0-9.]+)", told)}
    check(versions, "names no version of glibc")
    newest = max(versions)
    check(newest <= GLIBC, f"needs glibc {'.'.join(map(str, newest))}")
    check(not re.search(r"GLIBCXX_|CXXABI_|GCC_", told), "needs g++'s libraries")
    return f"glibc {'.'.join(map(str, newest))}, {', '.join(sorted(needed))}"


def load_commands(data):
    """(command, its bytes) of a Mach-O file."""
    magic, cpu, _, _, count, _, _, _ = struct.unpack_from("<8I", data)
    check(magic == 0xFEEDFACF, "no 64-bit Mach-O file")
    check(cpu == 0x0100000C, f"for processor {cpu:#x}")
    at = 32
    for _ in range(count):
        command, size = struct.unpack_from("<2I", data, at)
        yield command & 0x7FFFFFFF, data[at : at + size]
        at += size


def text_of(command, offset):
    return command[struct.unpack_from("<I", command, offset)[0] :].split(b"\0")[0].decode()


def check_mach_o(path, data):
    libraries, paths, minimum, signed = [], [], None, False
    for kind, command in load_commands(data):
        if kind in (0xC, 0x18, 0x1F):  # LC_LOAD_DYLIB, weak, re-exported
            libraries.append(text_of(command, 8))
        elif kind == 0x1C:  # LC_RPATH
            paths.append(text_of(command, 8))
        elif kind == 0x32:  # LC_BUILD_VERSION
            platform, minimum = struct.unpack_from("<2I", command, 8)
            check(platform == 1, f"for platform {platform}, not macOS")
        elif kind == 0x1D:  # LC_CODE_SIGNATURE
            signed = True
    check(minimum == 14 << 16, f"for macOS {(minimum or 0) >> 16}, not 14")
    # Without a signature of some kind an arm64 Mac starts no program.
    check(signed, "is not signed")
    outside = [lib for lib in libraries if not lib.startswith(("/usr/lib/", "/System/Library/"))]
    check(all(lib.startswith("@rpath/") for lib in outside), f"needs {outside}")
    check(all(p.startswith("@loader_path/") for p in paths), f"has the run paths {paths}")
    for lib in outside:
        beside = [path.parent / p.replace("@loader_path/", "") / lib.replace("@rpath/", "") for p in paths]
        check(any(place.exists() for place in beside), f"{lib} is not beside it")
    return f"macOS 14, {', '.join(libraries)}"


def main():
    target, path = sys.argv[1], pathlib.Path(sys.argv[2])
    data = path.read_bytes()
    about = check_mach_o(path, data) if target.endswith("macos") else check_elf(target, path, data)
    root = str(pathlib.Path(__file__).resolve().parents[1]).encode()
    home = str(pathlib.Path.home()).encode()
    for folder in (root, home + b"/.cargo", home + b"/.rustup"):
        check(folder not in data, f"names the folder {folder.decode()}")
    print(f"{target}: {about}")


main()
