#!/usr/bin/env python3
"""Writes src/model/grid_tables.{h,cc}: the grids of the GGUF formats IQ1, IQ2 and IQ3, which are
part of the formats, out of the PyPI package `gguf`.

    pip install gguf==0.19.0 numpy
    python make_grid_tables.py ../../src/model
"""

import pathlib
import sys

import numpy as np
from gguf import quants

# Name, class, what its grid's numbers are, bits of a code.
GRIDS = [
    ("kIq1Grid", quants.IQ1_S, 2),
    ("kIq2XxsGrid", quants.IQ2_XXS, 2),
    ("kIq2XsGrid", quants.IQ2_XS, 2),
    ("kIq2SGrid", quants.IQ2_S, 2),
    ("kIq3XxsGrid", quants.IQ3_XXS, 3),
    ("kIq3SGrid", quants.IQ3_S, 3),
]


def entries(kind, bits):
    kind.init_grid()
    grid = kind.grid.reshape(kind.grid_shape)
    codes = np.array([[list(kind.grid_map).index(int(x)) for x in entry] for entry in grid])
    return (codes << (bits * np.arange(codes.shape[1]))).sum(axis=1)


def write(folder):
    header = [
        "// Written by tests/model/make_grid_tables.py.",
        "#pragma once",
        "",
        "#include <cstdint>",
        "",
        "namespace mlxd {",
        "",
        "// The grids of GGUF's IQ formats. An entry holds the columns' indices of magnitude, the first",
        "// lowest: eight of two bits for IQ1 and IQ2, four of three bits for IQ3.",
    ]
    source = [
        "// Written by tests/model/make_grid_tables.py.",
        '#include "model/grid_tables.h"',
        "",
        "namespace mlxd {",
        "",
        "// clang-format off",
    ]
    for name, kind, bits in GRIDS:
        values = entries(kind, bits)
        header.append(f"extern const std::uint16_t {name}[{len(values)}];")
        source.append(f"const std::uint16_t {name}[{len(values)}] = {{")
        for at in range(0, len(values), 16):
            source.append("  " + ",".join(str(v) for v in values[at : at + 16]) + ",")
        source.append("};")
    header += ["", "}  // namespace mlxd", ""]
    source += ["// clang-format on", "", "}  // namespace mlxd", ""]
    (folder / "grid_tables.h").write_text("\n".join(header))
    (folder / "grid_tables.cc").write_text("\n".join(source))


if __name__ == "__main__":
    write(pathlib.Path(sys.argv[1]))
