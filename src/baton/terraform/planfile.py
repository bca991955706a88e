"""A file of `terraform plan -out`: the -targets it was made with, and the providers that were locked then.

It is a ZIP archive with `tfplan`, a protocol buffer (Terraform's planfile.proto: field 5, repeated, is target_addrs),
and a copy of `.terraform.lock.hcl`. The JSON of `terraform show` holds neither.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

from baton.terraform.locks import LOCK_FILE, Made, locked

_TARGETS = 5
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def how_made(path: Path) -> Made:
    """What the plan file says; nothing known of a file that is no such archive (an encrypted OpenTofu plan)."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            lock = archive.read(LOCK_FILE).decode("utf-8", "replace") if LOCK_FILE in names else None
            targets = None
            if "tfplan" in names:
                targets = tuple(v.decode() for n, v in _fields(archive.read("tfplan")) if n == _TARGETS)
            return Made(targets, locked(lock))
    except (OSError, zipfile.BadZipFile, ValueError, IndexError):
        return Made()


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(field number, bytes) of the length-delimited fields at the top. Raises ValueError, IndexError on other data."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            _, at = _varint(data, at)
        elif kind == _BYTES:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise ValueError("a field goes past the end")
            yield key >> 3, data[at : at + size]
            at += size
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
