#!/usr/bin/env python3
"""Wraps a root file system as a container image whose ID depends on nothing but its content.

Reads a tar of a root file system and writes a docker-archive (manifest, config, one layer).
The layer is written anew: sorted by name, times clamped, owners by number only, and headers of
our own, because tar programs disagree about unused header fields. The image ID is the SHA-256
of the config, so two hosts with the same packages get the same ID.

Not here: how the root file system is made (`scripts/images`).
"""

import argparse
import hashlib
import io
import json
import sys
import tarfile

BLOCK = 512
CHUNK = 1 << 20
# Times later than this are set to it, and the image says that it was created then.
CREATED_UNIX = 1_735_689_600
CREATED_TEXT = "2025-01-01T00:00:00Z"

KINDS = {
    tarfile.REGTYPE: b"0",
    tarfile.AREGTYPE: b"0",
    tarfile.LNKTYPE: b"1",
    tarfile.SYMTYPE: b"2",
    tarfile.DIRTYPE: b"5",
}


class HashingFile:
    """A file that knows the SHA-256 of what was written to it."""

    def __init__(self, raw):
        self.raw = raw
        self.hash = hashlib.sha256()
        self.size = 0

    def write(self, data):
        self.raw.write(data)
        self.hash.update(data)
        self.size += len(data)


def padding(size):
    return b"\0" * (-size % BLOCK)


def number(value, width):
    text = b"%0*o" % (width - 1, value)
    if len(text) >= width:
        raise ValueError(f"{value} does not fit a tar header field of {width} bytes")
    return text + b"\0"


def header(name, kind, *, mode=0o644, uid=0, gid=0, size=0, mtime=0, link=b""):
    """One ustar header. Device numbers, user and group names stay empty."""
    if len(name) > 100 or len(link) > 100:
        raise ValueError(f"{name!r} needs an extended header")
    block = bytearray(BLOCK)

    def put(offset, data):
        block[offset : offset + len(data)] = data

    put(0, name)
    put(100, number(mode, 8))
    put(108, number(uid, 8))
    put(116, number(gid, 8))
    put(124, number(size, 12))
    put(136, number(mtime, 12))
    put(148, b" " * 8)
    put(156, kind)
    put(157, link)
    put(257, b"ustar\x0000")
    put(148, b"%06o\0 " % sum(block))
    return bytes(block)


def pax_record(key, value):
    body = b" " + key + b"=" + value + b"\n"
    length = len(body)
    while len(b"%d" % length) + len(body) != length:
        length = len(b"%d" % length) + len(body)
    return b"%d" % length + body


def write_member(out, name, kind, link=b"", content=None, **fields):
    """Writes one member, with an extended header where a name is too long for a plain one."""
    records = b""
    if len(name) > 100:
        records += pax_record(b"path", name)
    if len(link) > 100:
        records += pax_record(b"linkpath", link)
    if records:
        out.write(header(b"pax", b"x", size=len(records)))
        out.write(records + padding(len(records)))
    out.write(header(name[:100], kind, link=link[:100], **fields))
    size = fields.get("size", 0)
    while content is not None and (chunk := content.read(CHUNK)):
        out.write(chunk)
    out.write(padding(size))


def clean(name):
    """The name as image layers spell it: relative, without `./`."""
    return name.removeprefix("./").removeprefix("/").rstrip("/")


def link_target(member, names):
    """A hard link must follow its target; sorting may turn the two around."""
    if member.type != tarfile.LNKTYPE:
        return None
    return names[clean(member.linkname)]


def write_layer(source, out):
    names = {}
    for member in source.getmembers():
        name = clean(member.name)
        if name in ("", "."):
            continue
        if member.type not in KINDS:
            # Device nodes and pipes: the engine makes the ones a container needs.
            continue
        names[name] = member
    first_name = {}
    for name in sorted(names):
        member = names[name]
        target = link_target(member, names)
        content_of = target or member
        link = member.linkname.encode() if member.type == tarfile.SYMTYPE else b""
        kind = KINDS[content_of.type]
        if content_of.isreg():
            key = clean(content_of.name)
            if key in first_name:
                kind, link = b"1", first_name[key].encode()
            else:
                first_name[key] = name
        size = content_of.size if kind == b"0" else 0
        write_member(
            out,
            (name + "/" if kind == b"5" else name).encode(),
            kind,
            link=link,
            content=source.extractfile(content_of) if size else None,
            # No set-user-id or set-group-id bits: nothing in the image may raise privileges.
            mode=content_of.mode & 0o1777,
            uid=content_of.uid,
            gid=content_of.gid,
            size=size,
            mtime=min(int(content_of.mtime), CREATED_UNIX),
        )
    out.write(b"\0" * BLOCK * 2)


def image_config(layer_digest, recipe, env):
    return {
        "architecture": "amd64",
        "os": "linux",
        "created": CREATED_TEXT,
        "config": {
            "Env": env,
            "User": "65534:65534",
            "WorkingDir": "/",
            "Labels": {"assay.recipe": recipe},
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
        "history": [{"created": CREATED_TEXT, "created_by": "assay scripts/images"}],
    }


def encode(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def write_file(out, name, data):
    write_member(out, name.encode(), b"0", content=io.BytesIO(data), size=len(data))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rootfs", required=True, help="tar of the root file system")
    parser.add_argument("--layer", required=True, help="where the layer is kept while wrapping")
    parser.add_argument("--out", required=True, help="the docker-archive to write")
    parser.add_argument("--tag", required=True, help="name and tag the image gets when loaded")
    parser.add_argument("--recipe", required=True, help="digest of the recipe, kept as a label")
    parser.add_argument("--env", action="append", default=[], help="NAME=VALUE, repeatable")
    options = parser.parse_args()

    with open(options.layer, "wb") as raw, tarfile.open(options.rootfs) as source:
        layer = HashingFile(raw)
        write_layer(source, layer)
    layer_digest = layer.hash.hexdigest()
    config = encode(image_config(layer_digest, options.recipe, options.env))
    image_id = hashlib.sha256(config).hexdigest()
    layer_name = f"{layer_digest}/layer.tar"
    manifest = [
        {"Config": f"{image_id}.json", "RepoTags": [options.tag], "Layers": [layer_name]}
    ]
    with open(options.out, "wb") as out:
        write_file(out, "manifest.json", encode(manifest))
        write_file(out, f"{image_id}.json", config)
        with open(options.layer, "rb") as content:
            write_member(out, layer_name.encode(), b"0", content=content, size=layer.size)
        out.write(b"\0" * BLOCK * 2)
    print(f"sha256:{image_id}")


if __name__ == "__main__":
    sys.exit(main())
