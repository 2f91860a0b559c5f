# Sourced by scripts/package, after scripts/lib.sh: what compiles for other systems, and the
# libraries that are built before mlxd is. All of it lies in $store and is made once.
store=$cache/package
pins=$root/packaging/pins
headers=$store/headers-$(sha256 "$pins" | cut -c1-12)
crates=$store/crates-$(sha256 "$root/packaging/sources/Cargo.lock" | cut -c1-12)
mlx=$store/mlx-metal-$mlx_version
zig=$store/zig-$(awk '$2 == "ziglang" { print $3 }' "$pins")
export ZIG_GLOBAL_CACHE_DIR=$store/zig-cache
mkdir -p "$store"

# complete FOLDER COMMAND ...: runs COMMAND with a new folder's path added, unless FOLDER is there;
# FOLDER is that folder when all went well.
complete() {
  local folder=$1 part=$1.part
  shift
  [ -d "$folder" ] && return
  rm -rf "$part"
  mkdir -p "$part"
  "$@" "$part"
  mv "$part" "$folder"
}

# apt_download NAME=VERSION ...: into this folder, also of another architecture (NAME:arm64=VERSION).
# apt_source does the same for sources. Lists of their own: those of the system stay as they are.
apt_options=(-o "Dir::State::lists=$store/lists" -o "Dir::Cache=$store/apt-cache"
  -o APT::Architectures::=amd64 -o APT::Architectures::=arm64 -o "APT::Sandbox::User=root")
apt_download() {
  apt_lists
  apt-get -qq "${apt_options[@]}" download "$@" >&2
}

apt_source() {
  apt_lists
  apt-get -qq "${apt_options[@]}" -o "Dir::Etc::sourcelist=$store/sources.list" -o Dir::Etc::sourceparts=- \
    source --download-only "$@" >&2
}

# The lists, once in a run: of what apt is told of here, and of the sources in the same archive.
apt_lists_are_new=false
apt_lists() {
  $apt_lists_are_new && return
  mkdir -p "$store/lists" "$store/apt-cache"
  apt-get -qq "${apt_options[@]}" update
  apt-get indextargets --format 'deb-src $(REPO_URI) $(RELEASE) main' 'Created-By: Packages' |
    grep '/debian/ bookworm ' | sort -u >"$store/sources.list"
  [ -s "$store/sources.list" ] || fail "no archive of Debian 12 is known to apt here; packages are made on Debian 12"
  apt-get -qq "${apt_options[@]}" -o "Dir::Etc::sourcelist=$store/sources.list" -o Dir::Etc::sourceparts=- \
    -o APT::Get::List-Cleanup=0 update
  apt_lists_are_new=true
}

fetch_zig() {
  local version=$(awk '$2 == "ziglang" { print $3 }' "$pins") hash=$(awk '$2 == "ziglang" { print $4 }' "$pins")
  say "fetching zig $version"
  wheel "ziglang==$version" "$hash" "$1" --platform manylinux_2_12_x86_64
  chmod +x "$1/ziglang/zig"
}

fetch_mlx() {
  local package platform hash
  read -r package platform hash < <(mlx_wheel Darwin-arm64)
  say "fetching $package $mlx_version"
  wheel "$package==$mlx_version" "$hash" "$1" --platform "$platform"
}

fetch_headers() {
  local kind name version hash download
  say "fetching the C++ libraries"
  apt_lists
  download=$(mktemp -d "$store/download.XXXXXX")
  while read -r kind name version hash; do
    case $kind in
      headers)
        (cd "$download" && apt_download "$name=$version")
        verify "$download/$name"_*.deb "$hash"
        dpkg-deb -x "$download/$name"_*.deb "$1" ;;
      source)
        (cd "$download" && apt_source "$name=$version")
        verify "$download/$name"_*.orig.tar.* "$hash"
        tar -xf "$download/$name"_*.orig.tar.* -C "$1" ;;
    esac
  done < <(grep -v '^#' "$pins")
  rm -rf "$download"
}

fetch_crates() {
  say "fetching OpenSSL and curl"
  cargo vendor --quiet --locked --manifest-path "$root/packaging/sources/Cargo.toml" "$1" >/dev/null
  # curl's build goes through folders that the crate leaves out.
  mkdir -p "$1/curl-sys/curl/docs"
  touch "$1/curl-sys/curl/docs/CMakeLists.txt"
  # On macOS curl asks a framework for what it then throws away, so that IPv4 literals work where there is
  # IPv6 alone. zig has no headers of frameworks.
  alter "$1/curl-sys/curl/lib/curl_setup.h" 's/^#    define CURL_MACOS_CALL_COPYPROXIES 1$//'
  alter "$1/curl-sys/curl/CMakeLists.txt" 's/if(CMAKE_SYSTEM_NAME STREQUAL "Darwin" AND NOT ENABLE_ARES)/if(FALSE)/'
}

# alter FILE SCRIPT: what sed makes of it, which must be something else.
alter() {
  cp "$1" "$1.before"
  sed -i "$2" "$1"
  ! cmp -s "$1" "$1.before" || fail "$1 has no line that $2 changes"
  rm "$1.before"
}

# make_tools TARGET: $tools, the compiler and its company for it. What they write names this checkout
# nowhere, so that two checkouts give the same bytes.
make_tools() {
  tools=$store/tools/$1
  mkdir -p "$tools"
  local triple tool options
  case $1 in
    *-linux) triple=$1-gnu.2.28 ;;  # that of RHEL 8, the oldest system that is still looked after
    *-macos) triple=$1.14.0 ;;
  esac
  options="-target $triple -g0 -ffile-prefix-map=$store=. -ffile-prefix-map=$root=."
  printf '#!/bin/sh\nexec %s/ziglang/zig cc %s "$@"\n' "$zig" "$options" >"$tools/clang.new"
  # Of macOS the system's libc++, as it is in macOS 14: libmlx uses it, and its exceptions are caught here.
  case $1 in *-macos) options+=" -D_LIBCPP_HAS_VENDOR_AVAILABILITY_ANNOTATIONS=1 -Wno-macro-redefined" ;; esac
  printf '#!/bin/sh\nexec %s/ziglang/zig c++ %s "$@"\n' "$zig" "$options" >"$tools/clang++.new"
  for tool in clang clang++; do
    # A compiler of the same content stays the same file: that is how what it compiled is known to be current.
    cmp -s "$tools/$tool.new" "$tools/$tool" || cp "$tools/$tool.new" "$tools/$tool"
    rm "$tools/$tool.new"
  done
  for tool in ar ranlib; do
    printf '#!/bin/sh\nexec %s/ziglang/zig %s "$@"\n' "$zig" $tool >"$tools/$tool"
  done
  chmod +x "$tools"/*
}

# use_rust TARGET: $rust, cargo's name of it, and in the environment what cargo needs to build for it: the
# compiler at hand where it has that system's library (`rustup target add`), else Debian's. Of macOS
# Debian has none; there the library is built from its source.
use_rust() {
  local debian=$store/rust flags
  case $1 in
    x86_64-linux) rust=x86_64-unknown-linux-gnu ;;
    aarch64-linux) rust=aarch64-unknown-linux-gnu ;;
    aarch64-macos) rust=aarch64-apple-darwin ;;
  esac
  unset RUSTC RUSTC_BOOTSTRAP
  rust_options=
  if [ ! -d "$(rustc --print target-libdir --target "$rust")" ]; then
    complete "$debian" fetch_rust
    export RUSTC=$debian/rustc
    "$RUSTC" --version >/dev/null 2>&1 || as_root apt-get -qq install -y --no-install-recommends libllvm22 >&2
    if [ ! -d "$("$RUSTC" --print target-libdir --target "$rust")" ]; then
      export RUSTC_BOOTSTRAP=1  # what cargo calls unstable: to build the library
      rust_options="-Zbuild-std=std,panic_unwind"
    fi
  fi
  flags="--remap-path-prefix=$root=. --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo"
  flags+=" --remap-path-prefix=$(${RUSTC:-rustc} --print sysroot)=rust"
  # Rust's libc names a library of macOS that zig does not know, and of which nothing is used.
  case $1 in *-macos) flags+=" -Lnative=$root/packaging/macos" ;; esac
  export "CARGO_TARGET_$(tr a-z- A-Z_ <<<"$rust")_RUSTFLAGS=$flags"
  export "CARGO_TARGET_$(tr a-z- A-Z_ <<<"$rust")_LINKER=$tools/clang"
}

fetch_rust() {
  local download package
  say "fetching Debian's Rust, with the libraries of other systems"
  download=$(mktemp -d "$store/download.XXXXXX")
  apt_lists
  # The library whose name has the version in it has the compiler, too.
  package=$(apt-cache "${apt_options[@]}" depends libstd-rust-web-dev | sed -n 's/.*Depends: \(libstd-rust-web-[0-9.]*\)$/\1/p' | head -n 1)
  (cd "$download" && apt_download rustc-web "$package" libstd-rust-web-dev libstd-rust-web-dev:arm64 rust-web-src libllvm22)
  for package in "$download"/*.deb; do dpkg-deb -x "$package" "$1"; done
  rm -rf "$download"
  printf '#!/bin/sh\nhere=$(dirname "$0")/usr\nLD_LIBRARY_PATH=$here/lib/x86_64-linux-gnu exec "$here/bin/rustc" "$@"\n' >"$1/rustc"
  chmod +x "$1/rustc"
}

build_openssl() {
  local target=$1 out=$2 system
  case $target in
    x86_64-linux) system=linux-x86_64 ;;
    aarch64-linux) system=linux-aarch64 ;;
    aarch64-macos) system=darwin64-arm64-cc ;;
  esac
  say "building OpenSSL for $target"
  mkdir "$out/build-openssl"
  # Its program names the compiler that it was built with: by name, not by place.
  (cd "$out/build-openssl"
   PATH=$tools:$PATH perl "$crates/openssl-src/openssl/Configure" $system CC=clang AR=ar RANLIB=ranlib \
     no-shared no-tests no-apps no-docs no-legacy no-engine no-module no-dtls no-ssl3 no-comp no-ui-console \
     --prefix=/ --openssldir=/etc/ssl --libdir=lib >log 2>&1 &&
   PATH=$tools:$PATH make -j"$jobs" build_libs >>log 2>&1 &&
   PATH=$tools:$PATH make install_dev DESTDIR="$out" >>log 2>&1) ||
    { tail -n 30 "$out/build-openssl/log" >&2; fail "OpenSSL was not built"; }
  rm -rf "$out/build-openssl"
}

build_curl() {
  local target=$1 out=$2
  say "building curl for $target"
  cmake -G Ninja -S "$crates/curl-sys/curl" -B "$out/build-curl" -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_TOOLCHAIN_FILE="$root/cmake/zig.cmake" -DMLXD_TARGET="$target" -DMLXD_TOOLS="$tools" \
    -DMLXD_LIBRARIES="$openssl" -DOPENSSL_USE_STATIC_LIBS=ON -DCMAKE_INSTALL_PREFIX="$out" -DPICKY_COMPILER=OFF \
    -DBUILD_CURL_EXE=OFF -DBUILD_SHARED_LIBS=OFF -DBUILD_STATIC_LIBS=ON -DBUILD_TESTING=OFF -DBUILD_EXAMPLES=OFF \
    -DBUILD_LIBCURL_DOCS=OFF -DBUILD_MISC_DOCS=OFF -DENABLE_CURL_MANUAL=OFF -DHTTP_ONLY=ON -DCURL_USE_OPENSSL=ON \
    -DCURL_USE_LIBPSL=OFF -DCURL_USE_LIBSSH2=OFF -DCURL_ZLIB=OFF -DCURL_BROTLI=OFF -DCURL_ZSTD=OFF -DUSE_NGHTTP2=OFF \
    -DUSE_LIBIDN2=OFF -DUSE_APPLE_IDN=OFF -DCURL_DISABLE_NTLM=ON -DCURL_CA_BUNDLE=none -DCURL_CA_PATH=none \
    >"$out/curl.log" 2>&1 &&
    cmake --build "$out/build-curl" --target install -j"$jobs" >>"$out/curl.log" 2>&1 ||
    { tail -n 30 "$out/curl.log" >&2; fail "curl was not built"; }
  rm -rf "$out/build-curl" "$out/curl.log"
}

# build_libraries TARGET: $openssl and $curl, prefixes with these libraries for it.
build_libraries() {
  local recipe
  recipe=$({ grep ziglang "$pins"; cat "$root/packaging/sources/Cargo.lock"; } | sha256sum | cut -c1-12)
  openssl=$store/openssl-$1-$recipe
  curl=$store/curl-$1-$recipe
  complete "$openssl" build_openssl "$1"
  complete "$curl" build_curl "$1"
}
