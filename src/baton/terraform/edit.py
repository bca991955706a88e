"""Edits of bytes: on texts in memory, or on files, all or none; undo; unified diffs.

An edit says what it replaces, so a file that changed meanwhile is noticed before anything is written.
"""

from __future__ import annotations

import difflib
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from baton.errors import ReadError, RefusedError
from baton.model.plan import Edit


def edited(texts: Mapping[str, bytes], edits: Iterable[Edit]) -> dict[str, bytes]:
    """The texts after the edits (only those that change).

    Raises RefusedError when bytes are not what an edit says they are, or two edits touch the same ones.
    """
    by_file: dict[str, list[Edit]] = {}
    for edit in edits:
        by_file.setdefault(edit.file, []).append(edit)
    return {name: _edited(name, texts[name], found) for name, found in by_file.items()}


def _edited(name: str, data: bytes, edits: Sequence[Edit]) -> bytes:
    parts: list[bytes] = []
    at = 0
    before: Edit | None = None
    for edit in sorted(edits, key=lambda e: (e.start, e.end)):
        if before is not None and (edit.start < before.end or (edit.start, edit.end) == (before.start, before.end)):
            raise RefusedError(
                f"two edits touch the same text: {before.new!r} and {edit.new!r}",
                where=f"{name}:{edit.line}",
                hint="one literal cannot take two values: give each its own, or move them together",
            )
        found = data[edit.start : edit.end]
        if found != edit.old.encode():
            raise RefusedError(
                f"the file has changed: {edit.old!r} was expected here, found {found.decode('utf-8', 'replace')!r}",
                where=f"{name}:{edit.line}",
                hint="make the plan again",
            )
        parts += [data[at : edit.start], edit.new.encode()]
        at = edit.end
        before = edit
    parts.append(data[at:])
    return b"".join(parts)


def unified_diff(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> str:
    """A unified diff of the files in `after`, as `diff -u` and `git apply` read it. "" when nothing differs."""
    parts = []
    for name in sorted(after):
        old = before[name].decode("utf-8", "replace").splitlines(True)
        new = after[name].decode("utf-8", "replace").splitlines(True)
        for line in difflib.unified_diff(old, new, f"a/{name}", f"b/{name}"):
            parts.append(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n")
    return "".join(parts)


def shared_files(edits: Iterable[Edit]) -> str:
    """What to heed when edits go to files outside of the root, "" when none does."""
    files = sorted({e.file for e in edits if e.file.startswith("../")})
    if not files:
        return ""
    return (
        f"edits go to {', '.join(files)}, outside of this root: other roots that read it (another environment, the "
        "other half of a blue/green pair) see what is held there, so do not apply them until the last stage is done"
    )


@dataclass(frozen=True, slots=True)
class Undo:
    """What was written and what was there before. Calling it puts the old bytes back, unless someone else wrote."""

    root: Path
    before: Mapping[str, bytes]
    after: Mapping[str, bytes]

    def __call__(self) -> None:
        """Raises RefusedError when a file is no longer as the edit left it; then nothing is touched."""
        for name, data in self.after.items():
            if (self.root / name).read_bytes() != data:
                raise RefusedError(
                    "the file was changed after Baton edited it, so the edit is not taken back",
                    where=name,
                    hint="take it back by hand, for example with `git checkout`",
                )
        _write(self.root, self.before)


def apply(root: Path, edits: Sequence[Edit]) -> Undo:
    """Write the edits into the files under `root`: all of them, or, on any error, none.

    Each file is written beside itself and renamed over, with its permissions; line endings are part of its bytes.
    Raises RefusedError (the text changed, conflicting edits) or ReadError (a file or its directory cannot be written).
    """
    before: dict[str, bytes] = {}
    for name in dict.fromkeys(e.file for e in edits):
        try:
            before[name] = (root / name).read_bytes()
        except OSError as error:
            raise ReadError(f"cannot be read: {error.strerror}", where=name, hint="check the path") from error
    after = edited(before, edits)
    _write(root, after)
    return Undo(root, before, after)


def _write(root: Path, texts: Mapping[str, bytes]) -> None:
    """Prepare all files first, then rename all; a rename that fails takes the earlier ones back."""
    prepared: list[tuple[Path, str]] = []
    done: list[tuple[Path, bytes]] = []
    try:
        for name, data in texts.items():
            prepared.append(_prepare(root / name, data))
        for path, temporary in prepared:
            old = path.read_bytes()
            os.replace(temporary, path)
            done.append((path, old))
    except OSError as error:
        _discard(temporary for _, temporary in prepared)
        for path, old in done:
            path.write_bytes(old)
        raise ReadError(
            f"cannot be written: {error.strerror}; no file was changed",
            where=str(error.filename or root),
            hint="give yourself write permission, or use `baton stage N --write` where you have it",
        ) from error


def _prepare(path: Path, data: bytes) -> tuple[Path, str]:
    """A temporary file with the new bytes beside the (real) file, which must itself be writable."""
    real = path.resolve()
    mode = real.stat().st_mode
    if not os.access(real, os.W_OK) or not mode & 0o222:
        raise PermissionError(13, "the file is read-only", str(path))
    handle, temporary = tempfile.mkstemp(prefix=f".{real.name}.", dir=real.parent)
    with os.fdopen(handle, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    os.chmod(temporary, mode & 0o7777)
    return real, temporary


def _discard(names: Iterable[str]) -> None:
    for name in names:
        Path(name).unlink(missing_ok=True)
