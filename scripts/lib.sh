# What scripts/run, scripts/setup and scripts/test share. Sourced, with bash, from anywhere.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=$root/.cache
models=$cache/models
mkdir -p "$models"

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# sha256 FILE: the hash in hex, on Linux and macOS.
sha256() { if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d' ' -f1; }

# verify FILE SHA256: fails, and removes the file, when the hash is another.
verify() {
  local found
  found=$(sha256 "$1")
  [ "$found" = "$2" ] || { rm -f "$1"; fail "$(basename "$1") has SHA-256 $found, expected $2; it was removed, run again"; }
}

# wheel REQUIREMENT SHA256 FOLDER [pip options]: downloads one wheel from PyPI, checks its hash
# ("" where the file inside is checked instead) and unpacks it into FOLDER.
wheel() {
  local requirement=$1 hash=$2 folder=$3 download
  shift 3
  download=$(mktemp -d "$cache/download.XXXXXX")
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --dest "$download" "$@" "$requirement"
  [ -z "$hash" ] || verify "$download"/*.whl "$hash"
  mkdir -p "$folder"
  python3 -m zipfile -e "$download"/*.whl "$folder"
  rm -rf "$download"
}

# mlx_wheel SYSTEM-PROCESSOR: package, platform and SHA-256 of MLX's library for it, in uname's names;
# nothing where there is none.
mlx_version=0.32.4
mlx_wheel() {
  case $1 in
    Darwin-arm64) echo mlx-metal macosx_14_0_arm64 8019b2db622599267d66cc168b2f0dbf5af929790a6c3b3913e00eabc42a7947 ;;
    Linux-x86_64) echo mlx-cpu manylinux_2_35_x86_64 0e0a24fa2ce8b6b94d2e6a90604e8813aa8e29fcb918bb2aa01cfb6d133d8cee ;;
    Linux-aarch64) echo mlx-cpu manylinux_2_35_aarch64 1289e85e64af1fd16380bf331438bfe4afe875d27afc3e0bcf35f427c488fadd ;;
  esac
}

# as_root COMMAND ...: runs it as root, with sudo if need be.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else fail "this needs root or sudo: $*"
  fi
}
