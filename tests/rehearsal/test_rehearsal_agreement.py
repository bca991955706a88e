"""The emulator and the rehearsal agree: one snapshot, plan and seed, once in virtual time, once through HTTP."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from typing import Any

import pytest

from baton.conductor.engines.aws import AwsEngine
from baton.conductor.journal import MemoryJournal
from baton.conductor.run import Conductor, Settings
from baton.emulator.server import Running, start_in_thread
from baton.gateways.aws import AwsGateway
from baton.gateways.kube import KubeGateway
from baton.knowledge.tables import Knowledge
from baton.model.cluster import Snapshot
from baton.model.events import Event
from baton.model.target import Target
from baton.planner.plan import make_plan
from baton.ports import SystemClock
from baton.rehearsal.generate import generate
from baton.rehearsal.run import Options, rehearse_once
from baton.twin.cloud.catalogue import MemoryCatalogue
from baton.twin.cloud.loading import Loader

SPEED = 1500.0
SEED = 11
KINDS = {
    "update.started",
    "update.ended",
    "roll.phase",
    "instance.launched",
    "instance.terminating",
    "instance.terminated",
    "node.ready",
    "node.draining",
    "pod.evicted",
    "pod.blocked",
    "cluster.version",
}


class _Deaf:
    def feed(self, events: Any, now: float) -> tuple[Event, ...]:
        return ()

    def unsettled(self) -> tuple[str, ...]:
        return ()

    def note(self, event: Event) -> None:
        return None


def cluster() -> Snapshot:
    """Only EKS-optimised groups: their update needs no launch template, which the emulator keeps in its EC2.

    One add-on: requests for several leave at the same moment, and how long each is on its way is nobody's seed.
    """
    made = generate(nodes=5, pods=110, seed=6, blocking=0, name="both")
    groups = tuple(
        dataclasses.replace(
            g, ami_type="AL2023_x86_64_STANDARD", launch_template=None, image_id="", release_version="1.34.9-20260714"
        )
        for g in made.node_groups
    )
    one_addon = tuple(a for a in made.addons if a.name == "kube-proxy")
    return dataclasses.replace(made, node_groups=groups, addons=one_addon)


def load(running: Running, snapshot: Snapshot, seen: list[tuple[str, str]]) -> None:
    """Bring the snapshot into the emulator's twin, in its own thread."""
    cloud = running.emulator.twin.cloud
    catalogue = MemoryCatalogue()
    cloud.core.catalogue = catalogue
    Loader(cloud, catalogue, snapshot).load()
    running.emulator.write_kubeconfig(snapshot.cluster.name)
    cloud.on_event(lambda event: seen.append((event.kind, event.subject)) if event.kind in KINDS else None)


def conduct(running: Running, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    environment: Mapping[str, str] = running.environment
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    aws = AwsGateway(region="us-east-1", profile=None)
    kube = KubeGateway.from_kubeconfig(str(running.kubeconfig))
    tokens = random.Random(1)
    Conductor(
        aws=aws,
        kube=kube,
        clock=SystemClock(SPEED, snapshot.taken_at),
        journal=MemoryJournal(),
        engine=AwsEngine(aws, lambda: f"{tokens.getrandbits(128):032x}"),
        observer=_Deaf(),
        settings=Settings(poll_seconds=0.1 * SPEED),
    ).run("agreement", make_plan(snapshot, Target("1.35"), Knowledge.load()))


def test_agreement_of_emulator_and_rehearsal_on_the_order_of_events(monkeypatch: pytest.MonkeyPatch):
    """If the rehearsal and the emulator rolled differently, trying on one would prove nothing for the other."""
    snapshot = cluster()
    plan = make_plan(snapshot, Target("1.35"), Knowledge.load())
    run = rehearse_once(snapshot, plan, SEED, options=Options(whole=True))
    assert run.outcome == "succeeded", run.reason
    wanted = [(line.kind, line.subject) for line in run.lines if line.kind in KINDS]
    seen: list[tuple[str, str]] = []
    running = start_in_thread(speed=SPEED, seed=SEED, start=snapshot.taken_at)
    try:
        running.call(lambda: load(running, snapshot, seen))
        conduct(running, snapshot, monkeypatch)
    finally:
        running.stop()
    assert len(wanted) > 200
    assert seen == wanted
