"""The conductor's looks that could see nothing new are passed over; all else is as if it had looked."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from baton.knowledge.tables import Knowledge
from baton.model.target import Target
from baton.planner.plan import make_plan
from baton.rehearsal.generate import generate
from baton.rehearsal.rest import Rest
from baton.rehearsal.run import Options, rehearse_once
from baton.twin.clock import VirtualClock
from baton.twin.cloud.settings import CloudSettings, Switches


def story(settings: CloudSettings | None = None) -> dict[str, Any]:
    snapshot = generate(nodes=12, pods=150, seed=8, blocking=0)
    major, minor = snapshot.cluster.version.split(".")
    plan = make_plan(snapshot, Target(f"{major}.{int(minor) + 1}"), Knowledge.load())
    told = dataclasses.asdict(rehearse_once(snapshot, plan, 3, options=Options(settings=settings, detail=True)))
    for cost in ("wall_seconds", "peak_rss_mib"):
        del told[cost]
    return told


def test_passing_looks_over_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    """A rehearsal would take another time than the same conductor needs that looks every five seconds."""
    resting = story()
    looks: list[float] = []

    def look(rest: Rest, seconds: float) -> None:
        looks.append(rest._clock.now())
        rest._clock.sleep(seconds)

    monkeypatch.setattr(Rest, "__call__", look)
    assert story() == resting
    assert len(looks) > 100


def test_updates_are_told_when_they_begin_and_at_the_next_look_after_they_ended():
    """A timeline that is a look or two late would not match what people saw during the roll."""
    lines = [line for line in story()["lines"] if line["kind"].startswith(("update.", "stage."))]
    began = {line["subject"]: line["at"] for line in lines if line["kind"] == "update.inprogress"}
    ended = {line["subject"]: line["at"] for line in lines if line["kind"] == "update.successful"}
    stages = [line["at"] for line in lines if line["kind"] == "stage.started"]
    assert began.keys() == ended.keys() and len(began) > 3
    assert set(began.values()) <= set(stages)
    told = sorted(ended.values())
    real = sorted(line["at"] for line in lines if line["kind"] == "update.ended")
    assert all(0 <= at - was < 5 for at, was in zip(told, real, strict=True))
    assert all(at % 5 == 0 for at in told)


def test_every_look_counts_where_clusters_are_upgraded_by_themselves(monkeypatch: pytest.MonkeyPatch):
    """Describing an update starts the upgrade of a cluster whose support ended: passing looks over would delay it."""
    looks: list[float] = []
    sleep = VirtualClock.sleep

    def counted(clock: VirtualClock, seconds: float) -> None:
        looks.append(seconds)
        sleep(clock, seconds)

    monkeypatch.setattr(VirtualClock, "sleep", counted)
    story(CloudSettings(switches=Switches(auto_upgrade=True)))
    assert len(looks) > 100
