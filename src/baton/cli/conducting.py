"""One upgrade from its first look to its report: what `baton apply` and `baton demo` share.

Everything a run stands on is in the journal before the first act, so that a run that was killed goes on from the file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from baton.cli import show
from baton.cli.wiring import Live
from baton.conductor.engines import Engine
from baton.conductor.engines.terraform import WORK
from baton.conductor.journal import SqliteJournal
from baton.conductor.run import Conductor, Settings, StageRecord, Status
from baton.errors import BatonError, ReadError, RefusedError
from baton.model.cluster import Snapshot
from baton.model.events import Event, WatchEvent
from baton.model.findings import Finding, Severity, Verdict
from baton.model.plan import Plan, Stage
from baton.model.view import Verified, View
from baton.observe import store
from baton.observe.observer import Observer
from baton.observe.snapshot import read_snapshot
from baton.observe.verdicts import all_hold, verify
from baton.planner.store import plan_from_json, plan_to_json
from baton.ports import new_token

if TYPE_CHECKING:
    from baton.terraform.inspection import Inspection

ASK_SECONDS = 30.0  # cluster time between looks at what AWS says of node groups, and at metrics


class Display(Protocol):
    """Where progress is shown (report.live)."""

    def update(
        self, view: View, now: float, stage: Stage | None, phase: str, waiting_for: Sequence[str] = ()
    ) -> None: ...

    def say(self, text: str) -> None: ...


@dataclass(frozen=True)
class Start:
    """What a run stands on. `rehearsal`: predictedSeconds, and stages with their seconds; None when none was held."""

    id: str
    plan: Plan
    before: Snapshot
    engine: str
    findings: tuple[Finding, ...] = ()
    rehearsal: Mapping[str, Any] | None = None
    resumed: bool = False


@dataclass
class Outcome:
    """How it went: the report tree, where its files are, and the error that halted it."""

    tree: dict[str, Any]
    files: tuple[Path, ...]
    error: BatonError | None = None

    @property
    def exit_code(self) -> int:
        """0 only when everything that must hold holds."""
        if self.error is not None:
            return self.error.exit_code
        return 0 if self.tree.get("outcome") == "succeeded" else 1


# --- the journal of a root -------------------------------------------------------------------------------------------


class Runs:
    """The journal in `root`/.baton, with the snapshot that each run began with. One process at a time."""

    def __init__(self, root: Path, journal: Path | None = None) -> None:
        self.folder = root / WORK
        self._made = False
        self._path = journal or self.folder / "journal.db"
        self._lock: io.TextIOWrapper | None = None
        self._journal: SqliteJournal | None = None

    @property
    def journal(self) -> SqliteJournal:
        if self._journal is None:
            keep_private(self.folder)
            self._journal = SqliteJournal(self._path)
        return self._journal

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock of this root. Raises RefusedError when another Baton conducts here."""
        keep_private(self.folder)
        path = self.folder / "lock"
        with path.open("a") as handle:
            try:
                import fcntl
            except ImportError:  # pragma: no cover - only where there is no fcntl (Windows)
                yield
                return
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RefusedError(
                    "another `baton apply` is conducting from this directory",
                    where=str(path),
                    hint="watch it with `baton watch`, or wait for its end",
                ) from error
            yield

    def unfinished(self, cluster: str) -> Start | None:
        """The run that was interrupted or halted, as it was started."""
        if self._journal is None and not self._path.exists():
            return None
        found = self.journal.open_run(cluster)
        if found is None:
            return None
        run, kept = found
        return Start(
            run,
            plan_from_json(kept["plan"], str(self._path)),
            store.load(self.of(run) / "before.json.gz"),
            kept["engine"],
            tuple(_finding(f) for f in kept["findings"]),
            kept["rehearsal"],
            resumed=True,
        )

    def begin(self, start: Start, at: float) -> None:
        """Write down what the run stands on. After this it can be continued."""
        folder = self.of(start.id)
        folder.mkdir(parents=True, exist_ok=True)
        store.save(folder / "before.json.gz", start.before)
        kept = {
            "plan": plan_to_json(start.plan),
            "engine": start.engine,
            "findings": show.to_json(start.findings),
            "rehearsal": start.rehearsal,
        }
        self.journal.start_run(start.id, start.plan.cluster, kept, at)

    def of(self, run: str) -> Path:
        """The folder of a run's files."""
        return self.folder / "runs" / run

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None


def keep_private(folder: Path) -> None:
    """Make Baton's folder in a Terraform root; it keeps itself out of Git."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
    except OSError as error:
        raise ReadError(
            f"cannot be written: {error.strerror}", where=str(folder), hint="Baton keeps its journal there"
        ) from error


def run_id(at: float) -> str:
    """Sorts by time, unique: `20261123-104502-1f3a`."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at, UTC).strftime("%Y%m%d-%H%M%S-") + new_token()[:4]


def _finding(data: Mapping[str, Any]) -> Finding:
    return Finding(**{**data, "severity": Severity(data["severity"]), "verdict": Verdict(data["verdict"])})


# --- conducting ------------------------------------------------------------------------------------------------------


class _Watching:
    """The conductor's observer: the watch, and what AWS and the metrics say from time to time."""

    def __init__(self, live: Live, observer: Observer) -> None:
        self.observer = observer
        self._live = live
        self._asked = float("-inf")
        self._metrics = True

    def feed(self, events: Sequence[WatchEvent], now: float) -> Sequence[Event]:
        if now - self._asked >= ASK_SECONDS:
            self._asked = now
            self._ask(now)
        return self.observer.feed(events, now)

    def note(self, event: Event) -> None:
        self.observer.note(event)

    def unsettled(self) -> Sequence[str]:
        return self.observer.unsettled()

    def _ask(self, now: float) -> None:
        """What cannot be read now is read next time: watching goes on meanwhile."""
        with contextlib.suppress(ReadError):
            self.observer.node_groups(self._live.aws.node_groups(self._live.cluster), now)
        if self._metrics:
            try:
                self.observer.metrics(self._live.kube.node_metrics())
            except ReadError as error:
                self._metrics = error.temporary


@dataclass
class Conducting:
    """Conducts one run and writes its report. `extra` files (the demo's) are copies of report.json and so on."""

    live: Live
    runs: Runs
    start: Start
    engine: Engine
    display: Display
    owners: Sequence[str] = ()
    out: Path | None = None
    crash: Callable[[str], None] = lambda point: None
    notes: list[str] = field(default_factory=list)
    _observer: Observer | None = field(default=None, init=False)

    def remark(self, stage: Stage, text: str) -> None:
        """What the gate has to say of a stage that it allows: shown, and kept in timeline and report."""
        self.display.say(f"the gate on stage {stage.ordinal}: {text}")
        if self._observer is not None:
            subject = f"stage {stage.ordinal} {stage.name}"
            self._observer.note(Event(self.live.clock.now(), "gate.remark", subject, "gate", {"text": text}))

    def run(self) -> Outcome:
        """Raises nothing that the upgrade itself meets: a halt is part of the outcome."""
        start, journal, clock = self.start, self.runs.journal, self.live.clock
        observer = Observer(
            start.before.node_groups, on_event=lambda e: journal.record(start.id, dataclasses.asdict(e))
        )
        if start.resumed:
            observer.resume(Event(**body) for body in journal.events(start.id))
        self._observer = observer
        conductor = Conductor(
            aws=self.live.aws,
            kube=self.live.kube,
            clock=clock,
            journal=journal,
            engine=self.engine,
            observer=_Watching(self.live, observer),
            settings=pace(clock.speed),
            on_status=lambda status: self._show(observer, status),
            crash=self.crash,
        )
        error: BatonError | None = None
        try:
            conductor.run(start.id, start.plan)
        except BatonError as halted:
            error = halted
        return self._end(observer, conductor.finished, error)

    def _show(self, observer: Observer, status: Status) -> None:
        self.display.update(observer.view(status.now), status.now, status.stage, status.state, status.waiting_for)

    def _end(self, observer: Observer, records: Sequence[StageRecord], error: BatonError | None) -> Outcome:
        from baton.report.tree import build_report

        start, clock = self.start, self.live.clock
        ended = clock.now()
        final, after = "", None
        verified: tuple[Verified, ...] = ()
        outcome = "refused" if isinstance(error, RefusedError) else "halted"
        if error is None:
            self.display.say("verifying: a fresh look at AWS, the cluster and the Terraform")
            final = self.engine.final_check(start.plan)
            after = self._look()
            verified = verify(observer.view(clock.now()), after, start.plan, final_plan=final)
            outcome = "succeeded" if all_hold(verified) else "not-verified"
        tree = build_report(
            plan=start.plan,
            records=records,
            view=observer.view(ended),
            before=start.before,
            after=after,
            findings=start.findings,
            verified=verified,
            rehearsal=_measured(start, records),
            terraform={"finalPlan": final or None} if self.engine.name == "terraform" else None,
            engine=self.engine.name,
            outcome=outcome,
            timeline=observer.timeline,
            notes=[
                *self.notes,
                *targeted(start),
                *remarks(observer.timeline),
                *([] if error is None else [error.message]),
            ],
        )
        self._close_run(outcome, error, ended)  # before the report: what is done is done, whether or not it can be told
        files = self._write(tree, observer)
        return Outcome(tree, files, error)

    def _close_run(self, outcome: str, error: BatonError | None, at: float) -> None:
        """A run that was refused before anything changed is over; one that halted half-way stays open."""
        journal = self.runs.journal
        acted = any(result is not None for _, _, _, result in journal.steps(self.start.id))
        if error is None or (isinstance(error, RefusedError) and not acted):
            journal.finish_run(self.start.id, outcome, at)

    def _look(self) -> Snapshot:
        live = self.live
        return read_snapshot(live.aws, live.kube, live.cluster, live.clock, owners=self.owners)

    def _write(self, tree: dict[str, Any], observer: Observer) -> tuple[Path, ...]:
        from baton.report.files import write_report

        folder = self.runs.of(self.start.id)
        files = write_report(folder, tree, observer.timeline)
        return files if self.out is None else write_report(self.out, tree, observer.timeline)


def targeted(start: Start) -> list[str]:
    """What was left out of applies by -target, for the record."""
    if start.engine != "terraform":
        return []
    return [
        f"stage {s.ordinal} ({s.name}) was planned and applied with {' '.join(f'-target={t}' for t in s.targets)}, as "
        "--allow-target allowed"
        for s in start.plan.stages
        if s.targets
    ]


def remarks(timeline: Sequence[Event]) -> list[str]:
    """What the gate said of plans that it allowed, once each."""
    found = (f"the gate on {e.subject}: {e.data['text']}" for e in timeline if e.kind == "gate.remark")
    return list(dict.fromkeys(found))


def pace(speed: float) -> Settings:
    """Looks at the watch every 5 s of cluster time, but not more often than five times a second of real time."""
    return Settings(poll_seconds=max(5.0, 0.2 * speed), aws_every=3)


def _measured(start: Start, records: Sequence[StageRecord]) -> dict[str, Any] | None:
    if start.rehearsal is None:
        return None
    whole = len(records) == len(start.plan.stages)
    return {
        **start.rehearsal,
        "actualSeconds": round(sum(at_work(r) for r in records), 1) if whole else None,
        "elapsedSeconds": round(records[-1].ended_at - records[0].started_at, 1) if whole and records else None,
    }


def at_work(record: StageRecord) -> float:
    """Seconds from the begin of a stage's first update to the end of its last: what a rehearsal predicts.

    The engine's own work (a Terraform plan, its polling) comes on top; beside an emulator, whose time runs faster, it
    would count many times over.
    """
    if not record.changes:
        return record.ended_at - record.started_at
    return max(c[5] for c in record.changes) - min(c[4] for c in record.changes)


# --- before ----------------------------------------------------------------------------------------------------------


def predict(snapshot: Snapshot, plan: Plan, *, seed: int = 0) -> dict[str, Any]:
    """Rehearse once; the prediction that the report compares with what came."""
    from baton.rehearsal.run import rehearse_once

    run = rehearse_once(snapshot, plan, seed)
    return {
        "predictedSeconds": round(sum(s for _, _, _, s in run.stages), 1),
        "seed": seed,
        "outcome": run.outcome,
        "reason": run.reason,
        "stages": [{"ordinal": o, "name": n, "seconds": s} for o, n, _, s in run.stages],
        "evictions": run.evictions,
        "repeatEvictions": run.repeat,
        "groups": {name: {"minReady": g.min_ready, "replaced": g.replaced} for name, g in sorted(run.groups.items())},
        "blocked": show.to_json(run.blocked),
        "maxPending": run.max_pending,
        "assumptions": list(run.assumptions),
    }


def owners_of(inspection: Inspection | None, cluster: str) -> tuple[str, ...]:
    from baton.conductor.staging import image_owners

    return image_owners(inspection, cluster)
