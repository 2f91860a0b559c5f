"""An OCI image without a daemon: an image layout in a tar, for `skopeo copy oci-archive:FILE ...` and
`podman load`.

    oci.py --version V --arch amd64|arm64 --root DIR --out FILE

DIR is the image's root file system. One layer; the same root gives the same bytes.
"""

import argparse
import datetime
import gzip
import hashlib
import io
import json
import os
import pathlib
import stat
import tarfile

DATE = int(os.environ["SOURCE_DATE_EPOCH"])
CREATED = datetime.datetime.fromtimestamp(DATE, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
NOBODY = 65532  # as the passwd of the root says
CONFIG = {
    "User": f"{NOBODY}:{NOBODY}",
    "ExposedPorts": {"10242/tcp": {}},
    # A container is reached from outside, so it has no address that is its own alone; mlxd asks for a
    # key then, or for the word that none is meant.
    "Env": ["PATH=/usr/bin", "MLXD_HOST=0.0.0.0", "HF_HOME=/models/huggingface", "MLXD_MODELS_DIR=/models"],
    "Entrypoint": ["/usr/bin/mlxd"],
    "Cmd": ["help"],
    "Volumes": {"/models": {}},
    "WorkingDir": "/models",
    "StopSignal": "SIGTERM",
}


def entry(name, path):
    info = tarfile.TarInfo(name)
    status = path.lstat()
    info.mode = stat.S_IMODE(status.st_mode)
    info.mtime = DATE
    # What it may write is its own.
    owner = NOBODY if name.split("/")[0] in ("models", "tmp") else 0
    info.uid = info.gid = owner
    if path.is_symlink():
        info.type, info.linkname = tarfile.SYMTYPE, os.readlink(path)
    elif path.is_dir():
        info.type = tarfile.DIRTYPE
    else:
        info.size = status.st_size
    return info


def layer(root):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(root.rglob("*")):
            info = entry(str(path.relative_to(root)), path)
            archive.addfile(info, path.open("rb") if info.isreg() else None)
    return raw.getvalue()


class Layout:
    """The files of the image, by their places; what is in blobs is named by its hash."""

    def __init__(self):
        self.files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}

    def add(self, content, media_type, **more):
        digest = hashlib.sha256(content).hexdigest()
        self.files[f"blobs/sha256/{digest}"] = content
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content), **more}

    def add_json(self, value, media_type, **more):
        return self.add(json.dumps(value, separators=(",", ":"), sort_keys=True).encode(), media_type, **more)

    def write(self, path):
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
            for name in ("blobs", "blobs/sha256"):
                info = tarfile.TarInfo(name)
                info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o755, DATE
                archive.addfile(info)
            for name in sorted(self.files):
                info = tarfile.TarInfo(name)
                info.size, info.mode, info.mtime = len(self.files[name]), 0o644, DATE
                archive.addfile(info, io.BytesIO(self.files[name]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--version", required=True)
    parser.add_argument("--arch", required=True, choices=("amd64", "arm64"))
    parser.add_argument("--root", required=True, type=pathlib.Path)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    options = parser.parse_args()

    image = Layout()
    tar = layer(options.root)
    packed = image.add(gzip.compress(tar, 9, mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip")
    about = {
        "org.opencontainers.image.title": "mlxd",
        "org.opencontainers.image.version": options.version,
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.created": CREATED,
    }
    config = image.add_json(
        {
            "created": CREATED,
            "architecture": options.arch,
            "os": "linux",
            "config": CONFIG | {"Labels": about},
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(tar).hexdigest()]},
            "history": [{"created": CREATED, "created_by": "scripts/package"}],
        },
        "application/vnd.oci.image.config.v1+json",
    )
    manifest_type = "application/vnd.oci.image.manifest.v1+json"
    manifest = image.add_json(
        {"schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": [packed], "annotations": about},
        manifest_type,
        platform={"architecture": options.arch, "os": "linux"},
        annotations={
            "org.opencontainers.image.ref.name": options.version,
            "io.containerd.image.name": f"localhost/mlxd:{options.version}",  # what podman calls it
        },
    )
    image.files["index.json"] = json.dumps(
        {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [manifest]},
        separators=(",", ":"), sort_keys=True,
    ).encode()
    image.write(options.out)


main()
