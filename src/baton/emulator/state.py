"""`--state FILE`: the emulator's state across restarts.

The twin and moto are deterministic, so the state is what happened: the seed and the requests that changed something,
each with its cluster time. At the next start they are carried out again, in as much time as that takes to compute.
The file is one JSON object per line: a header, then requests, and at a clean end the time it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from baton.errors import ReadError
from baton.ports import SystemClock

VERSION = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """A request at cluster time `at`; `side` is "aws", "kube", or "end" for the time of a clean stop."""

    at: float
    side: str
    request: Mapping[str, Any]


class StateFile:
    """Reads and appends. Raises ReadError for a file that is none of ours."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._out: TextIO | None = None

    def header(self) -> dict[str, Any] | None:
        """None when there is no file yet."""
        if not self.path.exists() or not self.path.stat().st_size:
            return None
        try:
            with self.path.open(encoding="utf-8") as lines:
                header = json.loads(lines.readline())
        except (OSError, ValueError) as error:
            raise ReadError(
                f"cannot be read: {error}", where=str(self.path), hint="give another --state file"
            ) from error
        if not isinstance(header, dict) or header.get("baton-emulator-state") != VERSION:
            raise ReadError(
                "is not a state file of this version", where=str(self.path), hint="give another --state file"
            )
        return header

    def create(self, header: Mapping[str, Any]) -> None:
        """Begin a new file, readable by its owner only: it holds the key of the Kubernetes endpoint."""
        try:
            self.path.touch(mode=0o600)
            self.path.write_text(json.dumps({"baton-emulator-state": VERSION, **header}) + "\n", encoding="utf-8")
        except OSError as error:
            raise ReadError(f"cannot be written: {error.strerror}", where=str(self.path)) from error

    def entries(self) -> Iterator[Entry]:
        """In order. A last line that was cut short by a crash is left out."""
        with self.path.open(encoding="utf-8") as lines:
            next(lines)
            for line in lines:
                try:
                    row = json.loads(line)
                    yield Entry(float(row["at"]), str(row["side"]), row.get("request") or {})
                except (ValueError, KeyError, TypeError):
                    if line.endswith("\n"):
                        raise ReadError("has a line that cannot be read", where=str(self.path)) from None

    def append(self, at: float, side: str, request: Mapping[str, Any]) -> None:
        if self._out is None:
            self._trim()
            self._out = self.path.open("a", encoding="utf-8")
        self._out.write(json.dumps({"at": at, "side": side, "request": request}) + "\n")
        self._out.flush()

    def _trim(self) -> None:
        """Drop a half-written last line."""
        raw = self.path.read_bytes()
        if not raw.endswith(b"\n"):
            self.path.write_bytes(raw[: raw.rfind(b"\n") + 1])

    def close(self, at: float) -> None:
        self.append(at, "end", {"stopped": SystemClock().now()})
        if self._out is not None:
            self._out.close()
            self._out = None
