"""The common ground of the cloud's rooms: clock, settings, seeded draws, records, look-ups, hooks."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Protocol

from baton.model.events import Event
from baton.twin.clock import Handle, VirtualClock
from baton.twin.cloud.catalogue import CloudCatalogue
from baton.twin.cloud.errors import AwsError, invalid_parameter, not_found
from baton.twin.cloud.facts import CloudFacts
from baton.twin.cloud.records import AddonRecord, AsgRecord, ClusterRecord, InstanceRecord, NodegroupRecord
from baton.twin.cloud.settings import CloudSettings, Range
from baton.twin.timings import Spread


class KubeSide(Protocol):
    """The part of KubeTwin that the cloud uses."""

    def bootstrap(self) -> None: ...

    def start(self) -> None: ...

    def set_version(self, version: str) -> None: ...

    def boot_node(self, spec: Any, on_ready: Callable[[], object] | None = None) -> None: ...

    def remove_node(self, name: str) -> None: ...

    def cordon(self, name: str, on: bool = True, labels: Mapping[str, str] | None = None) -> None: ...

    def evict(self, namespace: str, name: str, *, delete: bool = False) -> Any: ...

    def on_disruption_change(self, fn: Callable[[str, str, str], object]) -> object: ...

    def on_pod_gone(self, fn: Callable[[str, Any], object]) -> object: ...

    def drain_keys(self, node: str) -> Sequence[tuple[str, str] | int]: ...

    def drain_begins(self, node: str) -> None: ...

    def drain_ends(self, node: str) -> None: ...

    def drain_waits(self, node: str) -> bool: ...

    def wait_for_news(self, namespace: str, budget: str, on: bool) -> None: ...

    @property
    def bulk(self) -> Any: ...

    def apply_addon(self, name: str, version: str, *, image_ok: bool = True) -> None: ...

    def addon_healthy(self, name: str) -> bool: ...

    def remove_addon(self, name: str) -> None: ...

    @property
    def world(self) -> Any: ...


class KubeFactory(Protocol):
    """Makes the Kubernetes side of a cluster, and the description of a node that boots in it."""

    def cluster(self, name: str, version: str, rng: random.Random) -> KubeSide: ...

    def node_spec(self, **fields: Any) -> Any: ...


class Core:
    """State and services shared by the rooms of the cloud. Everything random comes from draws by name, so that an
    extra draw in one place does not change another."""

    def __init__(
        self,
        clock: VirtualClock,
        settings: CloudSettings,
        rng: random.Random,
        catalogue: CloudCatalogue,
        facts: CloudFacts,
        kube_factory: KubeFactory,
    ) -> None:
        self.clock = clock
        self.settings = settings
        self.catalogue = catalogue
        self.facts = facts
        self.kube_factory = kube_factory
        self.clusters: dict[str, ClusterRecord] = {}
        self.asgs: dict[str, AsgRecord] = {}
        self.instances: dict[str, InstanceRecord] = {}
        self.members: dict[str, dict[str, None]] = {}  # group -> ids of its instances, in launch order
        self.kubes: dict[str, KubeSide] = {}
        self.ips_taken: dict[str, int] = {}
        self.connection: Callable[[str], tuple[str, str]] | None = None
        self._seed = rng.getrandbits(64)
        self._draws: dict[str, int] = {}
        self._changes: list[Callable[[str, Any], object]] = []
        self._events: list[tuple[Callable[[Event], object], Collection[str] | None]] = []
        self._told: dict[str, list[Callable[[Event], object]]] = {}  # who hears of events of each kind

    # --- chance -----------------------------------------------------------------------------------------------

    def rng(self, what: str) -> random.Random:
        """A generator for the next draw about `what`: the same for the same seed, name and count of draws."""
        return random.Random(self._next(what))

    def _next(self, what: str) -> str:
        """What the generator for the next draw is seeded with."""
        count = self._draws.get(what, 0)
        self._draws[what] = count + 1
        return f"{self._seed}/{what}/{count}"

    def _digest(self, what: str) -> bytes:
        """64 bytes of chance for the next draw about `what`. A generator takes nine times as long to be seeded."""
        return blake2b(self._next(what).encode()).digest()

    def draw(self, span: Range | Spread, what: str) -> float:
        """Seconds within `span`, to the millisecond."""
        share = (int.from_bytes(self._digest(what)[:8], "big") >> 11) * 2.0**-53
        if isinstance(span, Spread):
            return span.at(share)
        low, high = span
        return round(low + (high - low) * share, 3)

    def uuid(self, what: str) -> str:
        return str(uuid.UUID(bytes=self._digest(what)[:16], version=4))

    def hex(self, what: str, digits: int = 17) -> str:
        """So many hexadecimal digits, at most 128."""
        return self._digest(what).hex()[:digits]

    # --- time -------------------------------------------------------------------------------------------------

    def now(self) -> float:
        return round(self.clock.now(), 3)

    def later(self, seconds: float, fn: Callable[[], object]) -> Handle:
        return self.clock.call_later(seconds, fn)

    def post(self, seconds: float, fn: Callable[[], object]) -> None:
        """As `later`, for a call that nobody will cancel."""
        self.clock.post(seconds, fn)

    # --- hooks ------------------------------------------------------------------------------------------------

    def on_change(self, fn: Callable[[str, Any], object]) -> None:
        """`fn(kind, record)` after every change of an instance, Auto Scaling group or launch template of EKS's own."""
        self._changes.append(fn)

    def changed(self, kind: str, record: Any) -> None:
        for fn in self._changes:
            fn(kind, record)

    def on_event(self, fn: Callable[[Event], object], kinds: Collection[str] | None = None) -> None:
        """`fn(event)` for everything worth a line in a timeline, or for some kinds of it; source is `twin`."""
        self._events.append((fn, kinds))
        self._told.clear()

    def event(self, kind: str, subject: str, **data: Any) -> None:
        told = self._told.get(kind)
        if told is None:
            told = self._told[kind] = [fn for fn, kinds in self._events if kinds is None or kind in kinds]
        if told:
            happening = Event(self.now(), kind, subject, "twin", data)
            for fn in told:
                fn(happening)

    # --- look-ups ---------------------------------------------------------------------------------------------

    def arn(self, kind: str, rest: str) -> str:
        return f"arn:aws:eks:{self.settings.region}:{self.settings.account}:{kind}/{rest}"

    def cluster(self, name: str) -> ClusterRecord:
        """Raises ResourceNotFoundException with the service's text."""
        record = self.clusters.get(name)
        if record is None:
            raise not_found(f"No cluster found for name: {name}.", clusterName=name)
        return record

    def active_cluster(self, name: str) -> ClusterRecord:
        """A cluster that takes new node groups, add-ons and the like."""
        record = self.cluster(name)
        if record.api["status"] not in ("ACTIVE", "UPDATING"):
            raise AwsError(
                "InvalidRequestException",
                f"Cluster '{name}' is not in ACTIVE status",
                clusterName=name,
            )
        return record

    def node_group(self, cluster: str, name: str) -> NodegroupRecord:
        record = self.cluster(cluster).node_groups.get(name)
        if record is None:
            raise not_found(f"No node group found for name: {name}.", clusterName=cluster, nodegroupName=name)
        return record

    def addon(self, cluster: str, name: str) -> AddonRecord:
        record = self.cluster(cluster).addons.get(name)
        if record is None:
            raise not_found(f"No addon: {name} found in cluster: {cluster}", clusterName=cluster, addonName=name)
        return record

    def kube(self, cluster: str) -> KubeSide:
        self.cluster(cluster)
        return self.kubes[cluster]

    def group_instances(self, asg: str) -> list[InstanceRecord]:
        """Instances of the group that EC2 still shows as its members, in launch order."""
        return [self.instances[i] for i in self.members.get(asg, ())]

    def free_ips(self, subnet_id: str) -> int:
        subnet = self.catalogue.subnet(subnet_id)
        if subnet is None or self.settings.faults.hits("no_free_ips", subnet_id):
            return 0
        return subnet.free_ips - self.ips_taken.get(subnet_id, 0)


def need(params: Mapping[str, Any], *names: str) -> None:
    """Refuse a request that lacks a required member, as the API does."""
    for name in names:
        if params.get(name) in (None, ""):
            raise invalid_parameter(f"The parameter {name} is required.")


def page(items: Iterable[str], params: Mapping[str, Any], key: str, most: int = 100) -> dict[str, Any]:
    """One page of names under `key`; the token is the name to continue behind."""
    names = list(items)
    size = params.get("maxResults") or most
    if not 1 <= size <= most:
        raise invalid_parameter(f"maxResults needs to be between 1 and {most}")
    start = 0
    token = params.get("nextToken")
    if token is not None:
        if token not in names:
            raise invalid_parameter("Invalid nextToken")
        start = names.index(token) + 1
    chosen = names[start : start + size]
    answer: dict[str, Any] = {key: chosen}
    if start + size < len(names):
        answer["nextToken"] = chosen[-1]
    return answer
