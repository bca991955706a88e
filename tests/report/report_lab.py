"""A roll on a twin, watched by the real observer and told by the real report: what the tests of this room look at."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from baton.conductor.engines.aws import AwsEngine
from baton.conductor.journal import MemoryJournal
from baton.conductor.run import Conductor, Settings, StageRecord, Status
from baton.errors import BatonError
from baton.knowledge.tables import Knowledge
from baton.model.cluster import Snapshot
from baton.model.events import Event, WatchEvent
from baton.model.plan import Plan
from baton.model.target import Target
from baton.model.view import View
from baton.observe.observer import Observer
from baton.observe.snapshot import read_snapshot
from baton.observe.verdicts import all_hold, verify
from baton.planner.plan import make_plan
from baton.rehearsal.generate import generate
from baton.report.tree import build_report
from baton.twin.adapters import TwinAws, TwinKube
from baton.twin.twin import Twin


@dataclass
class Conducted:
    """Everything that a report is made of."""

    plan: Plan
    before: Snapshot
    after: Snapshot | None
    observer: Observer
    view: View
    records: Sequence[StageRecord]
    outcome: str
    error: BatonError | None

    def tree(self, **changes: Any) -> dict[str, Any]:
        """The report, with some of its arguments changed."""
        verified = () if self.after is None else verify(self.view, self.after, self.plan, final_plan="no-changes")
        given: dict[str, Any] = {
            "plan": self.plan,
            "records": self.records,
            "view": self.view,
            "before": self.before,
            "after": self.after,
            "verified": verified,
            "engine": "aws",
            "outcome": self.outcome if self.outcome != "succeeded" or all_hold(verified) else "not-verified",
            "timeline": self.observer.timeline,
            "notes": [] if self.error is None else [self.error.message],
        }
        return build_report(**{**given, **changes})


class _Watching:
    """The conductor's observer, with AWS's word on node groups every half minute, as the command line wires it."""

    def __init__(self, observer: Observer, aws: TwinAws, cluster: str) -> None:
        self._observer, self._aws, self._cluster, self._asked = observer, aws, cluster, float("-inf")

    def feed(self, events: Sequence[WatchEvent], now: float) -> Sequence[Event]:
        if now - self._asked >= 30:
            self._asked = now
            self._observer.node_groups(self._aws.node_groups(self._cluster), now)
        return self._observer.feed(events, now)

    def unsettled(self) -> Sequence[str]:
        return self._observer.unsettled()

    def note(self, event: Event) -> None:
        self._observer.note(event)


def conduct(
    nodes: int,
    pods: int,
    *,
    seed: int = 1,
    blocking: int = 0,
    on_status: Callable[[Observer, Status], None] = lambda observer, status: None,
) -> Conducted:
    """Roll a generated cluster to 1.35."""
    before = _without_bare_pods(generate(nodes=nodes, pods=pods, seed=seed, blocking=blocking))
    plan = make_plan(before, Target("1.35"), Knowledge.load())
    name = before.cluster.name
    twin = Twin.from_snapshot(before, seed)
    aws, kube = TwinAws(twin, before.images), TwinKube(twin, name)
    observer = Observer(before.node_groups)
    tokens = itertools.count(1)
    conductor = Conductor(
        aws=aws,
        kube=kube,
        clock=twin.clock,
        journal=MemoryJournal(),
        engine=AwsEngine(aws, lambda: f"{next(tokens):032x}"),
        observer=_Watching(observer, aws, name),
        settings=Settings(poll_seconds=5.0),
        on_status=lambda status: on_status(observer, status),
    )
    error: BatonError | None = None
    after: Snapshot | None = None
    try:
        conductor.run("run-1", plan)
        after = read_snapshot(aws, kube, name, twin.clock)
    except BatonError as halted:
        error = halted
    return Conducted(
        plan,
        before,
        after,
        observer,
        observer.view(twin.clock.now()),
        conductor.finished,
        "succeeded" if error is None else "halted",
        error,
    )


def _without_bare_pods(snapshot: Snapshot) -> Snapshot:
    """Pods that nothing brings back would be lost, rightly; these tests want an upgrade that loses nothing."""
    pods = tuple(p for p in snapshot.objects["pods"] if p["metadata"].get("ownerReferences"))
    return replace(snapshot, objects={**snapshot.objects, "pods": pods})


@cache
def small() -> Conducted:
    """Three nodes, nothing in the way."""
    return conduct(3, 30)


@cache
def stuck() -> Conducted:
    """A budget that allows nothing: EKS gives up, the conductor halts."""
    return conduct(4, 40, seed=3, blocking=1)


def saved(folder: Path, tree: dict[str, Any]) -> Path:
    """report.json as a file."""
    path = folder / "report.json"
    path.write_text(json.dumps(tree))
    return path
