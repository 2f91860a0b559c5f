"""Reads Mach-O files, as far as a package's check needs: no Mac, no library but Python's."""

import dataclasses
import hashlib
import pathlib
import re
import struct

LOAD_DYLIB, LOAD_WEAK_DYLIB, REEXPORT_DYLIB, ID_DYLIB = 0xC, 0x18, 0x1F, 0xD
SYMTAB, RPATH, BUILD_VERSION, CODE_SIGNATURE = 0x2, 0x1C, 0x32, 0x1D
MACOS = 1
# Of a symbol's type (mach-o/nlist.h): those for debuggers, the kind, and whether others see it.
STAB, KIND, EXTERNAL, UNDEFINED = 0xE0, 0x0E, 0x01, 0x00
ADHOC = 0x2  # of a signature's flags (XNU's cs_blobs.h): nobody's, the hashes alone


class Malformed(Exception):
    pass


@dataclasses.dataclass
class MachO:
    data: bytes
    libraries: list[str]  # in the order in which symbols number them, from 1
    run_paths: list[str]
    minimum: tuple[int, int]  # of the system
    undefined: list[tuple[str, int]]  # symbols, with the number of the library that has each
    exported: set[str]
    signature: tuple[int, int] | None  # where it lies, and its length


def read(path):
    """Raises Malformed where it is no arm64 Mach-O file for macOS."""
    data = pathlib.Path(path).read_bytes()
    magic, cpu, _, _, count, _, _, _ = struct.unpack_from("<8I", data)
    if magic != 0xFEEDFACF or cpu != 0x0100000C:
        raise Malformed("no 64-bit Mach-O file for arm64")
    file = MachO(data, [], [], (0, 0), [], set(), None)
    at = 32
    for _ in range(count):
        command, size = struct.unpack_from("<2I", data, at)
        command &= 0x7FFFFFFF
        if command in (LOAD_DYLIB, LOAD_WEAK_DYLIB, REEXPORT_DYLIB):
            file.libraries.append(_text(data, at, size))
        elif command == RPATH:
            file.run_paths.append(_text(data, at, size))
        elif command == BUILD_VERSION:
            platform, minimum = struct.unpack_from("<2I", data, at + 8)
            if platform != MACOS:
                raise Malformed(f"for platform {platform}, not macOS")
            file.minimum = (minimum >> 16, minimum >> 8 & 0xFF)
        elif command == CODE_SIGNATURE:
            file.signature = struct.unpack_from("<2I", data, at + 8)
        elif command == SYMTAB:
            _read_symbols(file, *struct.unpack_from("<4I", data, at + 8))
        at += size
    return file


def _text(data, at, size):
    offset = struct.unpack_from("<I", data, at + 8)[0]
    return data[at + offset : at + size].split(b"\0")[0].decode()


def _read_symbols(file, symbols, count, strings, _):
    for index in range(count):
        name_at, kind, _, description, _ = struct.unpack_from("<IBBHQ", file.data, symbols + 16 * index)
        if kind & STAB or not kind & EXTERNAL:
            continue
        start = strings + name_at
        name = file.data[start : file.data.index(b"\0", start)].decode()
        if kind & KIND == UNDEFINED:
            file.undefined.append((name, description >> 8))
        else:
            file.exported.add(name)


def check_signature(file):
    """Raises Malformed where the system's kernel would kill it: there is no ad hoc signature, it is not
    of the whole file, or a page is not what was signed. The format: XNU's osfmk/kern/cs_blobs.h."""
    if not file.signature:
        raise Malformed("is not signed")
    start, size = file.signature
    if start + size != len(file.data):
        raise Malformed("has bytes behind its signature")
    magic, _, count = struct.unpack_from(">3I", file.data, start)
    if magic != 0xFADE0CC0:
        raise Malformed("has a signature of an unknown kind")
    for index in range(count):
        kind, offset = struct.unpack_from(">2I", file.data, start + 12 + 8 * index)
        if kind == 0:  # the code directory
            return _check_pages(file.data, start, start + offset)
    raise Malformed("has a signature without a code directory")


def _check_pages(data, signature, directory):
    magic, _, _, flags, hashes, _, _, pages, signed = struct.unpack_from(">9I", data, directory)
    hash_size, hash_type, _, page_bits = struct.unpack_from("4B", data, directory + 36)
    if magic != 0xFADE0C02 or (hash_size, hash_type) != (32, 2):
        raise Malformed("has a code directory of an unknown kind")
    if not flags & ADHOC:
        raise Malformed("has a signature that is not ad hoc")
    if signed != signature or pages != -(-signed >> page_bits):
        raise Malformed("is signed in part")
    for page in range(pages):
        begin = page << page_bits
        digest = hashlib.sha256(data[begin : min(begin + (1 << page_bits), signed)]).digest()
        at = directory + hashes + 32 * page
        if data[at : at + 32] != digest:
            raise Malformed(f"was changed after it was signed, in the 2^{page_bits} bytes at {begin}")


def symbols_of_stub(path):
    """All symbols of a text stub (.tbd), whichever of the libraries in it has them."""
    text = re.sub(r"#.*", "", pathlib.Path(path).read_text())
    symbols = set()
    for listed in re.findall(r"symbols:\s*\[([^\]]*)\]", text):
        symbols.update(name.strip().strip("'\"") for name in listed.split(","))
    return symbols
