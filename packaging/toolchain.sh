# Sourced by scripts/package, after scripts/lib.sh: what compiles for other systems, and the
# libraries that are built before mlxd is. All of it lies in $store and is made once.
store=$cache/package
pins=$root/packaging/pins
headers=$store/headers-$(sha256 "$pins" | cut -c1-12)
crates=$store/crates-$(sha256 "$root/packaging/sources/Cargo.lock" | cut -c1-12)
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

# apt_download NAME=VERSION ... (into this folder), also of packages that this system would not install.
apt_download() {
  apt-get -qq "${apt_options[@]}" download "$@" 2>&1 | { grep -v 'unsandboxed' || true; } >&2
}
apt_options=()

# The source of a Debian package, unpacked by nobody: the archive that this system's packages are of.
apt_source() {
  local lists=$store/source-lists
  mkdir -p "$lists"
  apt-get indextargets --format 'deb-src $(REPO_URI) $(RELEASE) main' 'Created-By: Packages' |
    grep '/debian/ bookworm ' | sort -u >"$store/sources.list"
  [ -s "$store/sources.list" ] || fail "no archive of Debian 12 is known to apt here; packages are made on Debian 12"
  local options=(-o "Dir::Etc::sourcelist=$store/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$lists")
  apt-get -qq "${options[@]}" update
  apt-get -qq "${options[@]}" source --download-only "$@" 2>&1 | { grep -v unsandboxed || true; } >&2
}

fetch_zig() {
  local version=$(awk '$2 == "ziglang" { print $3 }' "$pins") hash=$(awk '$2 == "ziglang" { print $4 }' "$pins")
  say "fetching zig $version"
  wheel "ziglang==$version" "$hash" "$1" --platform manylinux_2_12_x86_64
  chmod +x "$1/ziglang/zig"
}

fetch_headers() {
  local kind name version hash download
  say "fetching the C++ libraries"
  download=$(mktemp -d "$store/download.XXXXXX")
  while read -r kind name version hash; do
    case $kind in
      headers)
        (cd "$download" && apt_download "$name=$version")
        verify "$download/$name"_*.deb "$hash"
        dpkg-deb -x "$download/$name"_*.deb "$1" ;;
      source)
        (cd "$download" && apt_source "$name=$version")
        verify "$download/$name"_*.orig.tar.gz "$hash"
        tar -xzf "$download/$name"_*.orig.tar.gz -C "$1" ;;
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
}

# make_tools TARGET: $tools, the compiler and its company for it. What they write names this checkout
# nowhere, so that two checkouts give the same bytes.
make_tools() {
  tools=$store/tools/$1
  mkdir -p "$tools"
  local triple tool
  case $1 in
    *-linux) triple=$1-gnu.2.28 ;;  # that of RHEL 8, the oldest system that is still looked after
    *-macos) triple=$1.14.0 ;;
  esac
  for tool in clang clang++; do
    cat >"$tools/$tool" <<EOF
#!/bin/sh
exec $zig/ziglang/zig ${tool/clang/c} -target $triple -ffile-prefix-map=$store=. -ffile-prefix-map=$root=. "\$@"
EOF
  done
  sed -i 's/ziglang\/zig c /ziglang\/zig cc /' "$tools/clang"
  for tool in ar ranlib; do
    printf '#!/bin/sh\nexec %s/ziglang/zig %s "$@"\n' "$zig" $tool >"$tools/$tool"
  done
  chmod +x "$tools"/*
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
  recipe=$(cat "$pins" "$root/packaging/sources/Cargo.lock" | sha256sum | cut -c1-12)
  openssl=$store/openssl-$1-$recipe
  curl=$store/curl-$1-$recipe
  complete "$openssl" build_openssl "$1"
  complete "$curl" build_curl "$1"
}
