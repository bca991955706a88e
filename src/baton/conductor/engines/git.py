"""A stage's edits as one commit on a branch of its own, for teams whose applies start from a pull request."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from baton.errors import ReadError, RefusedError, UsageError


def branch_name(cluster: str, to: str, ordinal: int) -> str:
    """`baton/demo-1.35-stage-2`."""
    return f"baton/{re.sub(r'[^A-Za-z0-9._-]+', '-', cluster).strip('-.') or 'cluster'}-{to}-stage-{ordinal}"


def commit(root: Path, files: Sequence[str], message: str, branch: str, edit: Callable[[], object]) -> str:
    """Make `branch` from where the checkout is, call `edit`, and commit `files` (relative to `root`), nothing else.

    Returns the commit's abbreviated id. Raises RefusedError, with nothing changed, when one of the files has changes
    that are not committed or the branch exists; UsageError without Git or outside a repository.
    """
    if shutil.which("git") is None:
        raise UsageError("git is not installed", hint="leave --git out, and commit by your own means")
    if _git(root, "rev-parse", "--is-inside-work-tree", ok=(0, 128)).strip() != "true":
        raise UsageError("not a Git checkout", hint="leave --git out, or point at the checkout with -C DIR")
    dirty = _git(root, "status", "--porcelain", "--", *files).splitlines()
    if dirty:
        raise RefusedError(
            "files of the stage have changes that are not committed: " + ", ".join(line[3:] for line in dirty),
            where=str(root),
            hint="commit or stash them first, so that the commit holds the stage alone",
        )
    if _git(root, "branch", "--list", branch).strip():
        raise RefusedError(
            f"branch {branch} exists already", where=str(root), hint="delete it, or commit without --git"
        )
    before = _git(root, "rev-parse", "--abbrev-ref", "HEAD").strip()
    _git(root, "switch", "--quiet", "-c", branch)
    try:
        edit()
        _git(root, "commit", "--quiet", "--message", message, "--only", "--", *files)
    except BaseException:
        _git(root, "checkout", "--quiet", "--", *files)
        _git(root, "switch", "--quiet", before)
        _git(root, "branch", "--quiet", "-D", branch)
        raise
    return _git(root, "rev-parse", "--short", "HEAD").strip()


def committed(root: Path, name: str, base: str = "HEAD") -> str | None:
    """The text of a file below `root` as commit `base` has it; None without Git, the file or the commit."""
    if shutil.which("git") is None:
        return None
    words = ["git", "-C", str(root), "show", f"{base}:./{name}"]
    done = subprocess.run(words, capture_output=True, check=False)
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def _git(root: Path, *words: str, ok: Sequence[int] = (0,)) -> str:
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
    if done.returncode not in ok:
        raise ReadError(
            f"git {words[0]} failed: {(done.stderr or done.stdout).strip()}",
            where=str(root),
            hint="run the same command by hand in that directory",
        )
    return done.stdout
