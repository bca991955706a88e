"""The whole twin: a cloud, its clusters' Kubernetes sides, one clock, one seed.

twin = Twin(seed=7)                             empty, for the emulator
twin = Twin.from_snapshot(snapshot, seed=7)     a cluster as it was read, ready to roll in virtual time
"""

from __future__ import annotations

from random import Random
from typing import Any

from baton.knowledge.tables import Knowledge
from baton.model.cluster import Snapshot
from baton.twin.clock import VirtualClock
from baton.twin.cloud.catalogue import CloudCatalogue, MemoryCatalogue
from baton.twin.cloud.cloud import CloudTwin
from baton.twin.cloud.facts import CloudFacts
from baton.twin.cloud.loading import Loader, knowledge_of
from baton.twin.cloud.settings import CloudSettings
from baton.twin.kube import KubeTwin, NodeSpec
from baton.twin.timings import TwinSettings
from baton.twin.world import World


class KubeTwins:
    """Makes a KubeTwin for every cluster that the cloud creates."""

    def __init__(self, clock: VirtualClock, settings: TwinSettings, history: int) -> None:
        self._clock = clock
        self._settings = settings
        self._history = history

    def cluster(self, name: str, version: str, rng: Random) -> KubeTwin:
        world = World(self._clock, Random(rng.getrandbits(64)), history=self._history)
        return KubeTwin(self._clock, world, self._settings, rng, version=version)

    def node_spec(self, **fields: Any) -> NodeSpec:
        return NodeSpec(**fields)


class Twin:
    """`settings` rules the cloud, `kube_settings` the Kubernetes side; both draw from `settings.timings`.

    `history` is how many changes each world keeps for watches that start in the past (0 in rehearsals).
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        clock: VirtualClock | None = None,
        settings: CloudSettings | None = None,
        kube_settings: TwinSettings | None = None,
        catalogue: CloudCatalogue | None = None,
        knowledge: Knowledge | None = None,
        history: int = 100_000,
    ) -> None:
        self.seed = seed
        self.clock = clock or VirtualClock()
        self.settings = settings or CloudSettings()
        self.kube_settings = kube_settings or TwinSettings(timings=self.settings.timings)
        self.catalogue = catalogue if catalogue is not None else MemoryCatalogue()
        self.knowledge = knowledge or Knowledge.load()
        self.cloud = CloudTwin(
            self.clock,
            self.settings,
            Random(seed),
            self.catalogue,
            CloudFacts(self.knowledge, self.clock.now),
            KubeTwins(self.clock, self.kube_settings, history),
        )

    def kube(self, cluster: str) -> KubeTwin:
        """The Kubernetes side of a cluster. Raises AwsError ResourceNotFoundException."""
        kube = self.cloud.kube(cluster)
        assert isinstance(kube, KubeTwin)
        return kube

    @classmethod
    def from_snapshot(
        cls,
        snapshot: Snapshot,
        seed: int = 0,
        *,
        clock: VirtualClock | None = None,
        settings: CloudSettings | None = None,
        kube_settings: TwinSettings | None = None,
        history: int = 0,
    ) -> Twin:
        """A twin of the cluster in the snapshot: nodes, pods, workloads and budgets as they are, managed node groups
        as Auto Scaling groups whose instances are the nodes labelled with them. Time begins when it was taken.

        What the snapshot does not know (subnets, sizes of a plain kubectl dump) is filled in and listed in
        `twin.assumptions`. The add-on versions that were read win over the tables.
        """
        settings = settings or CloudSettings()
        twin = cls(
            seed,
            clock=clock or VirtualClock(snapshot.taken_at),
            settings=settings,
            kube_settings=kube_settings or TwinSettings(timings=settings.timings).for_rehearsal(),
            catalogue=MemoryCatalogue(),
            knowledge=knowledge_of(snapshot, Knowledge.load()),
            history=history,
        )
        assert isinstance(twin.catalogue, MemoryCatalogue)
        loader = Loader(twin.cloud, twin.catalogue, snapshot)
        loader.load()
        twin.assumptions = tuple(loader.assumptions)
        twin.cluster_name = snapshot.cluster.name
        return twin

    assumptions: tuple[str, ...] = ()
    cluster_name: str = ""
