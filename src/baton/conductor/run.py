"""The loop: stage by stage, intent before act, watched until the world agrees, recorded before the next.

The conductor is handed ports and an engine. It cannot know whether the cluster is real, emulated or a twin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from baton.conductor.agreement import Agreement, agreement
from baton.conductor.engines import Engine, Progress, StageRun
from baton.errors import BatonError, HaltedError, RefusedError, UnavailableError
from baton.model.cluster import Update
from baton.model.events import Event, WatchEvent
from baton.model.plan import Change, Plan, Stage
from baton.ports import AwsReader, Clock, Journal, KubeReader

WATCHED = (
    "nodes",
    "pods",
    "poddisruptionbudgets.policy",
    "deployments.apps",
    "replicasets.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "events",
)


class Observer(Protocol):
    """What the conductor tells of the world as it sees it; the observe room makes a timeline of it."""

    def feed(self, events: Sequence[WatchEvent], now: float) -> Sequence[Event]: ...

    def note(self, event: Event) -> None: ...

    def unsettled(self) -> Sequence[str]:
        """What has not come to rest since the last stage: workloads that are short of replicas, pods that start."""
        ...


@dataclass(frozen=True, slots=True)
class Settings:
    """`poll_seconds` of cluster time between looks at the watch; AWS is asked every `aws_every` looks.

    `grace_seconds`: how long the world may take to agree after the act has succeeded. `settle_seconds`: how long, after
    the last stage, the pods that moved last may take to become Ready.
    `patience` is how many UnavailableErrors in a row are ridden out (the API server moves during its own update).
    """

    poll_seconds: float = 5.0
    aws_every: int = 3
    grace_seconds: float = 1800.0
    settle_seconds: float = 600.0
    patience: int = 60


@dataclass(frozen=True, slots=True)
class StageRecord:
    """How a stage went. Times are cluster time; `changes` are (kind, name, from, to, startedAt, endedAt)."""

    ordinal: int
    name: str
    kind: str
    started_at: float
    ended_at: float
    changes: tuple[tuple[str, str, str, str, float, float], ...]
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class Status:
    """What the conductor is doing at this moment, for the live display."""

    stage: Stage | None
    state: str
    waiting_for: tuple[str, ...]
    started_at: float
    stage_started_at: float
    now: float


@dataclass
class Conductor:
    """Runs a plan. `crash` is called with the name of each crash point (tests kill there).

    `rest` lets time pass while EKS is at work, the clock's sleep where there is none: where time is virtual, looks that
    could see nothing new may be passed over. `finished` holds the records of the stages that ended, also when a later
    one halts.
    """

    aws: AwsReader
    kube: KubeReader
    clock: Clock
    journal: Journal
    engine: Engine
    observer: Observer
    settings: Settings = field(default_factory=Settings)
    on_status: Callable[[Status], None] = lambda status: None
    crash: Callable[[str], None] = lambda point: None
    rest: Callable[[float], None] | None = None
    finished: list[StageRecord] = field(default_factory=list, init=False)

    def run(self, run_id: str, plan: Plan) -> tuple[StageRecord, ...]:
        """Conduct every stage that the journal does not show as done. Raises RefusedError, HaltedError, ReadError."""
        started = self.clock.now()
        watch = self.kube.watch(WATCHED)
        try:
            for stage in plan.stages:
                self.finished.append(self._stage(run_id, plan, stage, started, watch.poll))
            self._settle(started, watch.poll)
            return tuple(self.finished)
        finally:
            watch.close()

    def _stage(
        self, run_id: str, plan: Plan, stage: Stage, run_started: float, poll: Callable[[], Sequence[WatchEvent]]
    ) -> StageRecord:
        done = self.journal.result(run_id, stage.ordinal, "stage")
        if done is not None and done.get("state") == "done":
            return _record_from(done)
        intent = self.journal.intend(
            run_id,
            stage.ordinal,
            "stage",
            {"startedAt": self.clock.now(), "engine": dict(self.engine.intent(plan, stage))},
        )
        begun = float(intent["startedAt"])
        self.crash(f"stage-{stage.ordinal}:intended")
        follow = _Follow(self, plan, stage, run_started, begun, poll)
        targets = {"targets": list(stage.targets)} if stage.targets else {}
        self._note("stage.started", stage, {"kind": stage.kind.value, **targets})
        try:
            resumed = follow.run(intent["engine"])
        except BatonError as error:
            self._note("stage.halted", stage, {"reason": error.message})
            raise
        record = StageRecord(
            stage.ordinal, stage.name, stage.kind.value, begun, self.clock.now(), follow.change_times(), resumed
        )
        self.crash(f"stage-{stage.ordinal}:agreed")
        self.journal.outcome(run_id, stage.ordinal, "stage", {"state": "done", **_record_to(record)})
        self._note("stage.ended", stage, {"seconds": record.ended_at - record.started_at})
        self.crash(f"stage-{stage.ordinal}:recorded")
        return record

    def _settle(self, started: float, poll: Callable[[], Sequence[WatchEvent]]) -> None:
        """Go on watching until the pods that moved last are Ready: the end is judged after that."""
        begun = now = self.clock.now()
        while True:
            self.observer.feed(poll(), now)
            waits = tuple(self.observer.unsettled())
            if not waits or now - begun >= self.settings.settle_seconds:
                return
            self.on_status(Status(None, "settling", waits, started, begun, now))
            self.clock.sleep(self.settings.poll_seconds)
            now = self.clock.now()

    def _note(self, kind: str, stage: Stage, data: Mapping[str, Any]) -> None:
        subject = f"stage {stage.ordinal} {stage.name}"
        self.observer.note(Event(self.clock.now(), kind, subject, "conductor", data))


class _Follow:
    """One stage from the look before the act to the moment the world agrees."""

    def __init__(
        self,
        conductor: Conductor,
        plan: Plan,
        stage: Stage,
        run_started: float,
        begun: float,
        poll: Callable[[], Sequence[WatchEvent]],
    ) -> None:
        self._c = conductor
        self._plan = plan
        self._stage = stage
        self._run_started = run_started
        self._begun = begun
        self._poll = poll
        self._failures = 0
        self._updates: dict[str, str] = {}
        self._seen: dict[str, Update] = {}
        self._ended: dict[str, float] = {}
        self._looks = 0

    def run(self, intent: Mapping[str, Any]) -> bool:
        """True when the act was found under way, or done, and was not started again here."""
        c = self._c
        self._observe("looking")
        found = self._agreement()
        if found is not None and found.agreed:
            return True
        attached = self._attach()
        if attached:
            c.crash(f"stage-{self._stage.ordinal}:attached")
        c.crash(f"stage-{self._stage.ordinal}:before-act")
        act = c.engine.begin(self._plan, self._stage, intent)
        c.crash(f"stage-{self._stage.ordinal}:acted")
        try:
            self._await_act(act)
            self._await_world()
        finally:
            act.stop()
        return attached

    def change_times(self) -> tuple[tuple[str, str, str, str, float, float], ...]:
        """Each change with the time EKS says its update began and the time we saw it end."""
        rows = []
        for change in self._stage.changes:
            key = _key(change)
            update = self._seen.get(key)
            start = update.created_at if update is not None and update.created_at is not None else self._begun
            rows.append(
                (change.kind, change.name, change.from_, change.to, start, self._ended.get(key, self._c.clock.now()))
            )
        return tuple(rows)

    # waiting

    def _await_act(self, act: StageRun) -> None:
        while True:
            progress = act.poll()
            self._updates.update(progress.updates)
            if progress.state == "failed":
                self._observe("failed", force_aws=True)
                raise HaltedError(
                    f"stage {self._stage.ordinal} ({self._stage.name}) failed: {progress.detail}",
                    where=f"cluster {self._plan.cluster}",
                    hint="see what blocks with `baton check`, mend it, then `baton apply` continues with this stage",
                )
            if progress.state == "succeeded":
                return
            self._tick(progress, self._c.rest)

    def _await_world(self) -> None:
        deadline = self._c.clock.now() + self._c.settings.grace_seconds
        while True:
            found = self._agreement()
            if found is not None and found.agreed:
                self._observe("agreed", force_aws=True)
                return
            if self._c.clock.now() > deadline:
                missing = "; ".join(found.missing) if found is not None else "the world cannot be read"
                raise HaltedError(
                    f"stage {self._stage.ordinal} ({self._stage.name}) was carried out but the world does not agree: "
                    + missing,
                    where=f"cluster {self._plan.cluster}",
                    hint="look at the nodes and add-ons named; `baton apply` looks again and continues",
                )
            self._tick(Progress("running", "; ".join(found.missing) if found is not None else "reading the world"))

    def _attach(self) -> bool:
        """Wait for updates of this stage's subjects that are already in flight: a second one is never started."""
        attached = False
        for change in self._stage.changes:
            while (update := self._in_flight(change)) is not None:
                attached = True
                self._updates[_key(change)] = update.id
                self._tick(Progress("running", f"update {update.id} of {change.name}, already in flight"))
        return attached

    def _in_flight(self, change: Change) -> Update | None:
        scope = _scope(change)
        try:
            for update_id in self._c.aws.updates(self._plan.cluster, **scope):
                update = self._c.aws.update(self._plan.cluster, update_id, **scope)
                if update.status == "InProgress":
                    return update
        except UnavailableError as error:
            self._ride_out(error)
        return None

    def _agreement(self) -> Agreement | None:
        """None when the world could not be read this time."""
        try:
            found = agreement(self._stage, self._plan.cluster, self._c.aws, self._c.kube)
        except UnavailableError as error:
            self._ride_out(error)
            return None
        self._failures = 0
        return found

    def _tick(self, progress: Progress, rest: Callable[[float], None] | None = None) -> None:
        self._observe(progress.state, (progress.detail,) if progress.detail else ())
        (rest or self._c.clock.sleep)(self._c.settings.poll_seconds)

    def _observe(self, state: str, waiting: tuple[str, ...] = (), *, force_aws: bool = False) -> None:
        c = self._c
        now = c.clock.now()
        c.observer.feed(self._poll(), now)
        if force_aws or self._looks % c.settings.aws_every == 0:
            self._ask_updates(now)
        self._looks += 1
        c.on_status(Status(self._stage, state, waiting, self._run_started, self._begun, now))

    def _ask_updates(self, now: float) -> None:
        """Follow the EKS updates of this stage by what EKS says of them."""
        for change in self._stage.changes:
            key = _key(change)
            scope = _scope(change)
            try:
                if key not in self._updates:
                    self._find_update(change, key, scope)
                if key in self._updates and key not in self._ended:
                    self._saw(change, key, self._c.aws.update(self._plan.cluster, self._updates[key], **scope), now)
            except UnavailableError as error:
                self._ride_out(error)

    def _find_update(self, change: Change, key: str, scope: Mapping[str, str]) -> None:
        """Terraform does not tell the update it started: find the one made since the stage began."""
        for update_id in self._c.aws.updates(self._plan.cluster, **scope):
            update = self._c.aws.update(self._plan.cluster, update_id, **scope)
            if update.created_at is not None and update.created_at >= self._begun - 60 and _concerns(change, update):
                self._updates[key] = update_id

    def _saw(self, change: Change, key: str, update: Update, now: float) -> None:
        before = self._seen.get(key)
        self._seen[key] = update
        if before is None or before.status != update.status:
            data = {"id": update.id, "status": update.status, "type": update.type, "to": change.to}
            if update.errors:
                data["errors"] = "; ".join(f"{e.code}: {e.message}" for e in update.errors)
            self._c.observer.note(Event(now, "update." + update.status.lower(), key, "aws", data))
        if update.status != "InProgress":
            self._ended[key] = now

    def _ride_out(self, error: UnavailableError) -> None:
        self._failures += 1
        if self._failures > self._c.settings.patience:
            raise HaltedError(
                f"the world could not be read {self._failures} times in a row: {error.message}",
                where=error.where,
                hint="nothing more was started; `baton apply` continues once it answers again",
            ) from error


def _key(change: Change) -> str:
    return "cluster" if change.kind == "cluster" else f"{change.kind}/{change.name}"


def _scope(change: Change) -> dict[str, str]:
    if change.kind == "addon":
        return {"addon": change.name}
    return {"node_group": change.name} if change.kind == "node-group" else {}


def _concerns(change: Change, update: Update) -> bool:
    return change.kind != "cluster" or update.type in ("VersionUpdate", "VersionRollback")


def _record_to(record: StageRecord) -> dict[str, Any]:
    return {
        "ordinal": record.ordinal,
        "name": record.name,
        "kind": record.kind,
        "startedAt": record.started_at,
        "endedAt": record.ended_at,
        "changes": [list(c) for c in record.changes],
        "resumed": record.resumed,
    }


def _record_from(done: Mapping[str, Any]) -> StageRecord:
    return StageRecord(
        done["ordinal"],
        done["name"],
        done["kind"],
        done["startedAt"],
        done["endedAt"],
        tuple((c[0], c[1], c[2], c[3], c[4], c[5]) for c in done["changes"]),
        done["resumed"],
    )


__all__ = ["WATCHED", "Conductor", "Observer", "RefusedError", "Settings", "StageRecord", "Status"]
