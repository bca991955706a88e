"""The files of a report, each written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from baton.errors import ReadError
from baton.model.events import Event
from baton.report.html import render


def write_report(folder: Path, tree: Mapping[str, Any], timeline: Iterable[Event]) -> tuple[Path, ...]:
    """report.json, report.html and timeline.jsonl (an event a line) in `folder`. Raises ReadError."""
    texts = {
        "report.json": json.dumps(tree, indent=2) + "\n",
        "report.html": render(tree),
        "timeline.jsonl": "".join(json.dumps(_event(e), sort_keys=True) + "\n" for e in timeline),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            fresh = folder / (name + ".new")
            fresh.write_text(text)
            fresh.replace(folder / name)
    except OSError as error:
        raise ReadError(
            f"cannot be written: {error.strerror}", where=str(folder), hint="choose another place with --report"
        ) from error
    return tuple(folder / name for name in texts)


def _event(event: Event) -> dict[str, Any]:
    return {
        "at": round(event.at, 3),
        "kind": event.kind,
        "subject": event.subject,
        "source": event.source,
        "data": dict(event.data),
    }
