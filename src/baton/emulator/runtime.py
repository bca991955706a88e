"""Where running emulators leave word of themselves, so that `baton emulator env` finds them from another shell."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from baton.errors import ReadError, UnavailableError


def folder() -> Path:
    """One folder per user, closed to others. Raises ReadError when somebody else owns it."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    path = Path(base) / "baton" if base else Path(tempfile.gettempdir()) / f"baton-{os.getuid()}"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_uid != os.getuid():
        raise ReadError("belongs to another user", where=str(path), hint="set XDG_RUNTIME_DIR or TMPDIR")
    return path


def announce(word: Mapping[str, Any]) -> Path:
    """Leave what `baton emulator` printed; returns the file to remove at the end."""
    path = folder() / f"emulator-{word['pid']}.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(dict(word)))
    return path


def running() -> list[dict[str, Any]]:
    """What emulators of this user left, the newest last; words of processes that are gone are removed."""
    found: list[tuple[float, dict[str, Any]]] = []
    for path in folder().glob("emulator-*.json"):
        try:
            word = json.loads(path.read_text())
            os.kill(int(word["pid"]), 0)
            found.append((path.stat().st_mtime_ns, word))
        except PermissionError:
            continue
        except (OSError, ValueError, KeyError, TypeError):
            path.unlink(missing_ok=True)
    return [word for _, word in sorted(found, key=lambda pair: pair[0])]


def environment(endpoint: str | None) -> dict[str, str]:
    """The variables of the emulator at `endpoint`, or of the newest one that this user runs.

    Raises UnavailableError when there is none.
    """
    if endpoint is None:
        words = running()
        if not words:
            raise UnavailableError(
                "no emulator is running", hint="start one with `baton emulator`, or name it with --endpoint"
            )
        endpoint = str(words[-1]["endpoint"])
    body = _get(f"{endpoint.rstrip('/')}/_baton/environment", endpoint)
    return {str(k): str(v) for k, v in body.items()}


def _get(url: str, endpoint: str) -> dict[str, Any]:
    hint = "is it up? `baton emulator` starts one"
    if not url.startswith(("http://", "https://")):
        raise UnavailableError("is not an http:// address", where=endpoint, hint="for example http://127.0.0.1:4566")
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=5) as answer:
            body = json.loads(answer.read(1_000_000))
    except (URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise UnavailableError(f"no emulator answers: {reason}", where=endpoint, hint=hint) from error
    if not isinstance(body, dict):
        raise UnavailableError("something else answers there", where=endpoint, hint=hint)
    return body
