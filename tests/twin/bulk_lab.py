"""What tests of bulk pods share: one cluster, rehearsed with or without, and a hand that changes it."""

from __future__ import annotations

import random
from typing import Any

from baton.model.cluster import Snapshot
from baton.rehearsal.tally import Tally
from baton.twin.bulk.begin import move_in_bulk
from baton.twin.kube import KubeTwin
from baton.twin.timings import TwinSettings
from baton.twin.twin import Twin

Json = dict[str, Any]


class Hand:
    """One cluster in which a drain has begun, and a hand that changes it as chance says."""

    def __init__(self, made: Snapshot, seed: int, bulk: bool) -> None:
        self.twin = Twin.from_snapshot(made, seed, kube_settings=TwinSettings().for_rehearsal())
        self.kube: KubeTwin = self.twin.kube(made.cluster.name)
        self.drains = self.twin.cloud.scaling.drains(made.cluster.name)
        self.rng = random.Random(seed)
        self.tally = Tally(self.twin, made.cluster.name)
        self.tally.attach()
        move_in_bulk(self.kube, self.tally, bulk)
        self.twin.clock.sleep(5)
        self.kube.drain_begins(self.a_node())
        self.new = 0

    def a_node(self) -> str:
        return self.rng.choice(sorted(n["metadata"]["name"] for n in self.kube.world.items("nodes")))

    def pods_of(self, kind: str) -> list[tuple[str, str]]:
        """(namespace, name) of the pods that controllers of this kind made."""
        return sorted(
            (o["metadata"]["namespace"], o["metadata"]["name"])
            for o in self.kube.world.items("pods")
            if any(r["kind"] == kind for r in o["metadata"].get("ownerReferences") or ())
        )

    def pods(self) -> dict[tuple[str, str], Json]:
        """All pods, but for why they wait: a record that was read keeps what was said then."""
        return {
            (o["metadata"]["namespace"], o["metadata"]["name"]): _without_why(o) for o in self.kube.world.items("pods")
        }


def _without_why(pod: Any) -> Json:
    status = {k: v for k, v in pod["status"].items() if k != "nominatedNodeName"}
    status["conditions"] = [c for c in status.get("conditions") or () if c["status"] == "True" or c["type"] == "Ready"]
    return {**pod, "status": status}
