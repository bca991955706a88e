"""The journal: what was meant and what came of it, in SQLite, durable before the act.

One row per (run, ordinal, name). An intent is written once and never changed, so a resumed run finds the tokens and
settings that the first one acted with. The only module that knows sqlite3.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from baton.errors import ReadError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS run (
    id TEXT PRIMARY KEY, cluster TEXT NOT NULL, plan TEXT NOT NULL, started REAL NOT NULL, finished REAL, outcome TEXT
);
CREATE TABLE IF NOT EXISTS step (
    run TEXT NOT NULL, ordinal INTEGER NOT NULL, name TEXT NOT NULL, intent TEXT NOT NULL, result TEXT,
    PRIMARY KEY (run, ordinal, name)
);
CREATE TABLE IF NOT EXISTS event (
    run TEXT NOT NULL, serial INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL
);
"""


class SqliteJournal:
    """A Journal (ports) in one file. Raises ReadError when the file cannot be opened or is not a journal.

    Writes are committed with `synchronous=FULL` before the call returns: after a power cut an intent that was acted
    on is still there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise ReadError(
                f"the journal cannot be used: {error}",
                where=str(path),
                hint="move the file away to start afresh, or pass --journal FILE",
            ) from error

    def close(self) -> None:
        self._db.close()

    # runs

    def open_run(self, cluster: str) -> tuple[str, dict[str, Any]] | None:
        """The unfinished run of `cluster` (id, plan), if there is one."""
        row = self._db.execute(
            "SELECT id, plan FROM run WHERE cluster = ? AND finished IS NULL ORDER BY started DESC LIMIT 1", (cluster,)
        ).fetchone()
        return None if row is None else (row[0], json.loads(row[1]))

    def last_run(self, cluster: str | None = None) -> tuple[str, dict[str, Any], str | None] | None:
        """The newest run (id, plan, outcome), of `cluster` when given."""
        where, args = ("WHERE cluster = ?", (cluster,)) if cluster else ("", ())
        row = self._db.execute(
            f"SELECT id, plan, outcome FROM run {where} ORDER BY started DESC LIMIT 1", args
        ).fetchone()
        return None if row is None else (row[0], json.loads(row[1]), row[2])

    def start_run(self, run: str, cluster: str, plan: Mapping[str, Any], at: float) -> None:
        self._db.execute(
            "INSERT INTO run (id, cluster, plan, started) VALUES (?, ?, ?, ?)", (run, cluster, json.dumps(plan), at)
        )

    def finish_run(self, run: str, outcome: str, at: float) -> None:
        self._db.execute("UPDATE run SET finished = ?, outcome = ? WHERE id = ?", (at, outcome, run))

    # steps (the Journal port)

    def intend(self, run: str, ordinal: int, name: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """Write the intent unless one is there; return the one that is there now."""
        self._db.execute(
            "INSERT OR IGNORE INTO step (run, ordinal, name, intent) VALUES (?, ?, ?, ?)",
            (run, ordinal, name, json.dumps(payload, sort_keys=True)),
        )
        row = self._db.execute(
            "SELECT intent FROM step WHERE run = ? AND ordinal = ? AND name = ?", (run, ordinal, name)
        ).fetchone()
        stored: dict[str, Any] = json.loads(row[0])
        return stored

    def outcome(self, run: str, ordinal: int, name: str, result: Mapping[str, Any]) -> None:
        self._db.execute(
            "INSERT INTO step (run, ordinal, name, intent, result) VALUES (?, ?, ?, '{}', ?) "
            "ON CONFLICT (run, ordinal, name) DO UPDATE SET result = excluded.result",
            (run, ordinal, name, json.dumps(result, sort_keys=True)),
        )

    def result(self, run: str, ordinal: int, name: str) -> Mapping[str, Any] | None:
        row = self._db.execute(
            "SELECT result FROM step WHERE run = ? AND ordinal = ? AND name = ?", (run, ordinal, name)
        ).fetchone()
        if row is None or row[0] is None:
            return None
        found: dict[str, Any] = json.loads(row[0])
        return found

    def steps(self, run: str) -> list[tuple[int, str, dict[str, Any], dict[str, Any] | None]]:
        """Every step of a run: (ordinal, name, intent, result or None)."""
        rows = self._db.execute(
            "SELECT ordinal, name, intent, result FROM step WHERE run = ? ORDER BY ordinal, rowid", (run,)
        )
        return [(o, n, json.loads(i), None if r is None else json.loads(r)) for o, n, i, r in rows]

    # the timeline survives a kill as well

    def record(self, run: str, body: Mapping[str, Any]) -> None:
        self._db.execute("INSERT INTO event (run, body) VALUES (?, ?)", (run, json.dumps(body, sort_keys=True)))

    def events(self, run: str) -> list[dict[str, Any]]:
        return [
            json.loads(r[0]) for r in self._db.execute("SELECT body FROM event WHERE run = ? ORDER BY serial", (run,))
        ]


class MemoryJournal:
    """A Journal for rehearsals: the same promises, gone when the process ends."""

    def __init__(self) -> None:
        self._intents: dict[tuple[str, int, str], dict[str, Any]] = {}
        self._results: dict[tuple[str, int, str], dict[str, Any]] = {}

    def intend(self, run: str, ordinal: int, name: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._intents.setdefault((run, ordinal, name), dict(payload))

    def outcome(self, run: str, ordinal: int, name: str, result: Mapping[str, Any]) -> None:
        self._results[run, ordinal, name] = dict(result)

    def result(self, run: str, ordinal: int, name: str) -> Mapping[str, Any] | None:
        return self._results.get((run, ordinal, name))
