# Sourced by scripts/package: what is made of a program. Each function makes one thing, from the same
# tree, and the same bytes whenever it is made from the same commit.

# stamp FOLDER: the date of the commit on all of it, and modes that no umask decides.
stamp() {
  find "$1" -type d -exec chmod 755 {} +
  find "$1" -type f -perm /111 -exec chmod 755 {} + -o -type f -exec chmod 644 {} +
  find "$1" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
}

# make_tree TARGET: $tree, which runs from wherever it is put.
make_tree() {
  local target=$1 share
  name=mlxd-$version-$(system_of "$target")
  tree=$out/$target/$name
  share=$tree/share
  rm -rf "$tree"
  install -D "$build/mlxd" "$tree/bin/mlxd"
  # MLX's library, and beside it, where it looks, its kernels.
  case $target in *-macos) install -D -m 644 "$mlx"/mlx/lib/{libmlx.dylib,mlx.metallib} -t "$tree/lib/mlxd" ;; esac
  install -d "$share/doc/mlxd" "$share/man/man1"
  cp "$root/LICENSE" "$root/NOTICE" "$root/README.md" "$root/deploy/mlxd.service" "$share/doc/mlxd"
  python3 "$root/packaging/man.py" "$host_program" >"$share/man/man1/mlxd.1"
  install -d "$share/bash-completion/completions" "$share/zsh/site-functions" "$share/fish/vendor_completions.d"
  "$host_program" completion bash >"$share/bash-completion/completions/mlxd"
  "$host_program" completion zsh >"$share/zsh/site-functions/_mlxd"
  "$host_program" completion fish >"$share/fish/vendor_completions.d/mlxd.fish"
  python3 "$root/packaging/components.py" --target "$target" --version "$version" --headers "$headers" \
    --crates "$crates" --zig "$zig" --mlx "$mlx" --rustc "${RUSTC:-rustc}" --cargo-target "$rust" \
    --sbom "$share/doc/mlxd/sbom.cdx.json" --licences "$share/doc/mlxd/licenses"
  stamp "$tree"
}

system_of() {
  case $1 in
    x86_64-linux) echo linux-x86_64 ;;
    aarch64-linux) echo linux-aarch64 ;;
    aarch64-macos) echo macos-arm64 ;;
  esac
}

debian_architecture() { case $1 in x86_64-linux) echo amd64 ;; aarch64-linux) echo arm64 ;; esac; }

make_tar() {
  tar --sort=name --owner=0 --group=0 --numeric-owner --format=gnu --mtime="@$SOURCE_DATE_EPOCH" \
    -C "$(dirname "$tree")" -c "$name" | zstd -q -19 -T1 -f -o "$out/$name.tar.zst"
}

make_wheel() {
  local tag
  case $1 in
    x86_64-linux) tag=manylinux_2_28_x86_64 ;;
    aarch64-linux) tag=manylinux_2_28_aarch64 ;;
    aarch64-macos) tag=macosx_14_0_arm64 ;;
  esac
  python3 "$root/packaging/wheel.py" --version "$version" --tag $tag --tree "$tree" \
    --licences "$tree/share/doc/mlxd/licenses" --sbom "$tree/share/doc/mlxd/sbom.cdx.json" --out "$out"
}

make_deb() {
  local arch stage=$out/$1/deb doc=$out/$1/deb/usr/share/doc/mlxd
  arch=$(debian_architecture "$1")
  rm -rf "$stage"
  install -d "$stage/usr" "$stage/DEBIAN"
  cp -a "$tree/bin" "$tree/share" "$stage/usr"
  rm "$doc/mlxd.service" "$doc/LICENSE"
  gzip -9n "$stage/usr/share/man/man1/mlxd.1" "$doc/README.md"
  install -d "$stage/usr/share/zsh/vendor-completions"
  mv "$stage/usr/share/zsh/site-functions/_mlxd" "$stage/usr/share/zsh/vendor-completions"
  rmdir "$stage/usr/share/zsh/site-functions"
  install -D -m 644 "$root/packaging/deb/mlxd.toml" "$stage/etc/mlxd/mlxd.toml"
  install -d "$stage/lib/systemd/system"
  # The unit of deploy/, for this package's places and with a user that lasts, who owns the models.
  sed -e '1,/^\[Unit\]/{/^\[Unit\]/!d}' -e '/^# The settings/,/^#   exit-on-hang/d' \
    -e 's|^Documentation=.*|Documentation=man:mlxd(1)|' \
    -e 's|^ExecStart=.*|ExecStart=/usr/bin/mlxd serve --config /etc/mlxd/mlxd.toml|' \
    -e 's|^DynamicUser=yes|User=mlxd\nStateDirectory=mlxd\nEnvironment=HF_HOME=/var/lib/mlxd/huggingface|' \
    "$root/deploy/mlxd.service" >"$stage/lib/systemd/system/mlxd.service"
  grep -q '^User=mlxd$' "$stage/lib/systemd/system/mlxd.service" &&
    grep -q '^ExecStart=/usr/bin/mlxd ' "$stage/lib/systemd/system/mlxd.service" ||
    fail "deploy/mlxd.service has other lines than packaging/formats.sh adapts"
  install -D -m 644 "$root/packaging/deb/lintian-overrides" "$stage/usr/share/lintian/overrides/mlxd"
  { printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: mlxd\n\n'
    printf 'Files: *\nCopyright: 2026 the mlxd authors\nLicense: Apache-2.0\n'
    printf ' On Debian systems the text is in /usr/share/common-licenses/Apache-2.0.\n'
    printf ' .\n What is linked into the program is under licences of its own; sbom.cdx.json beside\n'
    printf ' this file lists it, and licenses/ has their texts.\n'; } >"$doc/copyright"
  { printf 'mlxd (%s) unstable; urgency=medium\n\n  * As of the commit that %s was built from.\n\n' "$version" "$version"
    printf ' -- the mlxd authors <mlxd@localhost>  %s\n' "$(date -R -d "@$SOURCE_DATE_EPOCH")"; } |
    gzip -9n >"$doc/changelog.gz"
  echo /etc/mlxd/mlxd.toml >"$stage/DEBIAN/conffiles"
  stamp "$stage"
  install -m 755 "$root"/packaging/deb/{postinst,prerm,postrm} "$stage/DEBIAN"
  sed -e "s/@VERSION@/$version/; s/@ARCH@/$arch/; s/@SIZE@/$(du -sk --apparent-size --exclude=DEBIAN "$stage" | cut -f1)/" \
    "$root/packaging/deb/control.in" >"$stage/DEBIAN/control"
  (cd "$stage" && find usr lib -type f | sort | xargs md5sum) >"$stage/DEBIAN/md5sums"
  stamp "$stage"
  dpkg-deb --root-owner-group -Zxz --build "$stage" "$out/mlxd_${version}_$arch.deb" >/dev/null
}

# fetch_image_parts ARCH FOLDER: the C library and the certificates, unpacked in folders of their names.
fetch_image_parts() {
  local arch=$1 of package version hash download
  download=$(mktemp -d "$store/download.XXXXXX")
  while read -r of package version hash; do
    case $of in
      "$arch") (cd "$download" && apt_download "$package:$arch=$version") ;;
      all) (cd "$download" && apt_download "$package=$version") ;;
      *) continue ;;
    esac
    verify "$download/${package}"_*.deb "$hash"
    dpkg-deb -x "$download/${package}"_*.deb "$2/$package"
  done < <(grep -v '^#' "$root/packaging/image-pins")
  rm -rf "$download"
}

# An image's root: the program, the C library that it asks for, certificates, and a user.
make_image() {
  local arch parts image=$out/$1/image libraries lib
  arch=$(debian_architecture "$1")
  parts=$store/image-$arch-$(sha256 "$root/packaging/image-pins" | cut -c1-12)
  complete "$parts" fetch_image_parts "$arch"
  rm -rf "$image"
  install -D "$tree/bin/mlxd" "$image/usr/bin/mlxd"
  install -d "$image/etc/ssl/certs" "$image/models" "$image/tmp" "$image/usr/share/doc"
  cp -r "$tree/share/doc/mlxd" "$image/usr/share/doc"
  for lib in libc6 ca-certificates; do
    install -D -m 644 "$parts/$lib/usr/share/doc/$lib/copyright" "$image/usr/share/doc/mlxd/licenses/$lib/copyright"
  done
  # What mlxd needs, and what the C library loads to look up names.
  libraries=$parts/libc6/lib/$(cd "$parts/libc6/lib" && echo *-linux-gnu)
  for lib in ld-linux-*.so.* libc.so.6 libm.so.6 libdl.so.2 libpthread.so.0 librt.so.1 libresolv.so.2 libnss_files.so.2 libnss_dns.so.2; do
    install -D "$libraries"/$lib -t "$image/lib/$(basename "$libraries")"
  done
  lib=$(cd "$libraries" && echo ld-linux-*.so.*)
  case $arch in
    amd64) install -d "$image/lib64"; ln -s "../lib/$(basename "$libraries")/$lib" "$image/lib64/$lib" ;;
    arm64) ln -s "$(basename "$libraries")/$lib" "$image/lib/$lib" ;;
  esac
  cat "$parts"/ca-certificates/usr/share/ca-certificates/mozilla/*.crt >"$image/etc/ssl/certs/ca-certificates.crt"
  printf 'root:x:0:0:root:/:/none\nmlxd:x:65532:65532:mlxd:/models:/none\n' >"$image/etc/passwd"
  printf 'root:x:0:\nmlxd:x:65532:\n' >"$image/etc/group"
  printf 'hosts: files dns\n' >"$image/etc/nsswitch.conf"
  stamp "$image"
  chmod 1777 "$image/tmp"
  python3 "$root/packaging/oci.py" --version "$version" --arch "$arch" --root "$image" \
    --out "$out/mlxd-$version-oci-$arch.tar"
}

# make_formula: of the archives that are there, and lie at $MLXD_RELEASE_URL.
make_formula() {
  local system archive script="s|@URL@|${MLXD_RELEASE_URL%/}|; s|@VERSION@|$version|"
  for system in linux-x86_64 linux-aarch64 macos-arm64; do
    archive=$out/mlxd-$version-$system.tar.zst
    [ -f "$archive" ] || fail "the formula names all three archives, and $(basename "$archive") is not there"
    script+="; s|@$system@|$(sha256 "$archive")|"
  done
  sed -e '1,2d' -e "$script" "$root/deploy/mlxd.rb.in" >"$out/mlxd.rb"
}
