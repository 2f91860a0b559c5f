"""What a packaged program must be, read from the file itself, since it may be another system's.

    check_program.py x86_64-linux|aarch64-linux|aarch64-macos PROGRAM LIBSYSTEM.TBD

Linux: the processor, no symbol of a C library newer than glibc 2.28, no library that is not the C
library's, position-independent, no run path. macOS: arm64, for macOS 14.0, with an ad hoc signature
that holds (Apple silicon starts nothing without), and every symbol that it asks for is in the library
that it asks: libSystem, libc++ as of macOS 14, or one that it finds by its run path. None names a
folder of the machine it was made on.
"""

import pathlib
import re
import struct
import subprocess
import sys

import mach_o

GLIBC = (2, 28)
LIBRARIES = {"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libresolv.so.2"}
LOADERS = {"x86_64-linux": "ld-linux-x86-64.so.2", "aarch64-linux": "ld-linux-aarch64.so.1"}
MACOS = (14, 0)
SYSTEM_FOLDERS = ("/usr/lib/", "/System/Library/Frameworks/")
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


def check_mach_o(path, stubs):
    try:
        program = mach_o.read(path)
        mach_o.check_signature(program)
        libraries = {}  # what each offers
        for library in program.libraries:
            if library.startswith("@rpath/"):
                libraries[library] = check_own_library(path, program, library)
            else:
                check(library in stubs, f"needs {library}")
                libraries[library] = mach_o.symbols_of_stub(stubs[library])
    except mach_o.Malformed as error:
        check(False, str(error))
    check(program.minimum == MACOS, f"for macOS {program.minimum}")
    check(program.undefined, "asks nothing of the system")
    for symbol, number in program.undefined:
        check(1 <= number <= len(program.libraries), f"asks no library for {symbol}")
        library = program.libraries[number - 1]
        check(symbol in libraries[library], f"asks {library} for {symbol}, which has none")
    return f"macOS 14.0, signed ad hoc, {len(program.undefined)} symbols of {', '.join(program.libraries)}"


def check_own_library(program_path, program, name):
    """The symbols of a library that comes with the program, and is found by its run paths."""
    for run_path in program.run_paths:
        check(run_path.startswith("@loader_path/"), f"has the run path {run_path}")
        path = program_path.parent / run_path.replace("@loader_path/", "") / name.replace("@rpath/", "")
        if path.exists():
            library = mach_o.read(path)
            mach_o.check_signature(library)
            check(library.minimum <= MACOS, f"{name} is for macOS {library.minimum}")
            outside = [needed for needed in library.libraries if not needed.startswith(SYSTEM_FOLDERS)]
            check(not outside, f"{name} needs {outside}")
            check((path.parent / "mlx.metallib").exists(), f"there is no mlx.metallib beside {name}")
            return library.exported
    check(False, f"{name} is in none of {program.run_paths}")


def main():
    target, path = sys.argv[1], pathlib.Path(sys.argv[2])
    data = path.read_bytes()
    root = pathlib.Path(__file__).resolve().parents[1]
    if target.endswith("macos"):
        stubs = {"/usr/lib/libSystem.B.dylib": sys.argv[3], "/usr/lib/libc++.1.dylib": root / "packaging/macos/libc++.tbd"}
        about = check_mach_o(path, stubs)
    else:
        about = check_elf(target, path, data)
    root = str(root).encode()
    home = str(pathlib.Path.home()).encode()
    for folder in (root, home + b"/.cargo", home + b"/.rustup"):
        check(folder not in data, f"names the folder {folder.decode()}")
    print(f"{target}: {about}")


main()
