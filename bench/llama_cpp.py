"""llama.cpp, the peer that bench/compare, bench/compare_http and bench/divergence measure mlxd
beside.

`build()` compiles it once, for this processor, from the source package of llama-cpp-python on PyPI
(which holds it whole), into .cache/llama.cpp/bin. Some 10 minutes on two cores.
"""
import hashlib
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build/release"
MODELS = ROOT / ".cache/models"
BIN = ROOT / ".cache/llama.cpp/bin"
PACKAGE = "llama-cpp-python==0.3.36"
SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
# llama-logits is ours: bench/llama/logits.cc.
PROGRAMS = ["llama-bench", "llama-batched-bench", "llama-server", "llama-tokenize", "llama-quantize",
            "llama-logits"]

SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1.gguf"
QWEN = "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
GEMMA = "gemma-3-270m-q4_k_m.gguf"


def run(*command, **options):
    """The command's output; ends this program when it fails."""
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{result.stdout[-2000:]}{result.stderr[-2000:]}")
    return result.stdout


def build():
    if all((BIN / name).exists() for name in PROGRAMS):
        return
    print("building llama.cpp, once", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=ROOT / ".cache") as folder:
        # pip asks the package for its metadata before it hands it over, and gets what that takes
        # (scikit-build-core) itself, as wheels, into an environment of its own.
        run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
            f"--no-binary={PACKAGE.partition('==')[0]}", "--dest", folder, PACKAGE)
        package = next(pathlib.Path(folder).glob("*.tar.gz"))
        found = hashlib.sha256(package.read_bytes()).hexdigest()
        if found != SHA256:
            sys.exit(f"{package.name} has SHA-256 {found}, expected {SHA256}")
        with tarfile.open(package) as archive:
            archive.extractall(folder, filter="data")
        source = next(pathlib.Path(folder).glob("*/vendor/llama.cpp"))
        compile_into_bin(source, pathlib.Path(folder) / "build")


def compile_into_bin(source, folder):
    run("cmake", "-S", ROOT / "bench/llama", "-B", folder, f"-DLLAMA_SOURCE={source}",
        "-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON", "-DLLAMA_BUILD_COMMON=ON",
        "-DLLAMA_BUILD_TOOLS=ON", "-DLLAMA_BUILD_SERVER=ON", "-DLLAMA_BUILD_UI=OFF",
        "-DLLAMA_USE_PREBUILT_UI=OFF", "-DLLAMA_CURL=OFF", "-DBUILD_SHARED_LIBS=OFF")
    run("cmake", "--build", folder, "-j", os.cpu_count(), "--target", *PROGRAMS)
    BIN.mkdir(parents=True, exist_ok=True)
    for name in PROGRAMS:
        (folder / "bin" / name).rename(BIN / name)
