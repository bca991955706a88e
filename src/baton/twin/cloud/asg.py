"""Auto Scaling groups and their instances: launches balanced over zones, scale-in, the terminate hook that drains."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Protocol

from baton.errors import UsageError
from baton.twin.cloud.core import Core
from baton.twin.cloud.drain import Drains
from baton.twin.cloud.kinds import Kinds
from baton.twin.cloud.records import AsgRecord, InstanceRecord

HOOK_SECONDS = 900.0  # scale-in tries evictions this long, then the node goes anyway (EKS user guide)
LAUNCH_FAILURES = "AsgInstanceLaunchFailures"
DELETE_HOOK_SECONDS = 300.0  # and this long when the whole node group is deleted


class Watcher(Protocol):
    """Told what happens in one group while an update or a creation watches it."""

    def instance_ready(self, instance: InstanceRecord) -> None: ...

    def instance_leaving(self, instance: InstanceRecord) -> None: ...

    def instance_gone(self, instance: InstanceRecord) -> None: ...

    def desired_changed(self, by: int) -> None: ...


class AutoScaling:
    """Every group of every cluster. Sizes are kept by `set_sizes`; a group then acts after a short reaction time."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._drains: dict[str, Drains] = {}
        self.watchers: dict[str, list[Watcher]] = {}
        self.by_node: dict[tuple[str, str], InstanceRecord] = {}  # (cluster, node name)
        # group -> instances that are not leaving, by id in launch order; of these the ones not Ready yet; all per zone
        self._alive: dict[str, dict[str, InstanceRecord]] = {}
        self._joining: dict[str, dict[str, InstanceRecord]] = {}
        self._zones: dict[str, Counter[str]] = {}
        self._reconciling: set[str] = set()
        self._offsets: dict[str, int] = {}
        self._used: set[str] = set()  # private addresses
        self._when_empty: dict[str, Callable[[], object]] = {}
        self._kinds = Kinds(core)

    # --- drains -----------------------------------------------------------------------------------------------

    def drains(self, cluster: str) -> Drains:
        if cluster not in self._drains:
            self._drains[cluster] = Drains(self._core, cluster, self._core.kube(cluster))
        return self._drains[cluster]

    def forget_cluster(self, cluster: str) -> None:
        self._drains.pop(cluster, None)

    # --- groups -----------------------------------------------------------------------------------------------

    def add(self, group: AsgRecord) -> None:
        self._core.asgs[group.name] = group
        self._core.members[group.name] = {}
        self._alive[group.name], self._joining[group.name] = {}, {}
        self._zones[group.name] = Counter({zone: 0 for zone in group.subnets})
        self._core.changed("asg", group)

    def adopt(self, instance: InstanceRecord) -> None:
        """An instance that is there already."""
        ident, group = instance.id, instance.asg
        self._core.instances[ident] = instance
        self._core.members[group][ident] = None
        self.by_node[(instance.cluster, instance.node_name)] = instance
        self._zones[group][instance.zone] += 1
        self._alive[group][ident] = instance
        if instance.ready_at is None:
            self._joining[group][ident] = instance
        self._used.add(instance.private_ip)

    def watch(self, group: str, watcher: Watcher) -> None:
        self.watchers.setdefault(group, []).append(watcher)

    def unwatch(self, group: str, watcher: Watcher) -> None:
        self.watchers.get(group, []).remove(watcher)

    def _tell(self, group: str) -> list[Watcher]:
        return list(self.watchers.get(group, ()))

    def set_sizes(
        self,
        group: AsgRecord,
        *,
        minimum: int | None = None,
        maximum: int | None = None,
        desired: int | None = None,
        outside: bool = False,
    ) -> None:
        """Change sizes. `outside`: somebody other than EKS did it. Raises UsageError when they do not fit together."""
        low = group.min_size if minimum is None else minimum
        high = group.max_size if maximum is None else maximum
        wanted = group.desired if desired is None else desired
        if not 0 <= low <= wanted <= high:
            raise UsageError(
                f"desired capacity {wanted} is not between {low} and {high}",
                where=f"Auto Scaling group {group.name}",
                hint="change the minimum or maximum too",
            )
        by = wanted - group.desired
        group.min_size, group.max_size, group.desired = low, high, wanted
        if wanted <= self.size(group):
            self._report(group, "")
        self._core.changed("asg", group)
        if by and outside:
            for watcher in self._tell(group.name):
                watcher.desired_changed(by)
        self.act_soon(group)

    def act_soon(self, group: AsgRecord) -> None:
        if group.name in self._reconciling:
            return
        self._reconciling.add(group.name)
        wait = self._core.draw(self._core.settings.timings.asg_reaction, f"asg {group.name}")
        self._core.post(wait, partial(self._act, group))

    def _act(self, group: AsgRecord) -> None:
        self._reconciling.discard(group.name)
        if group.name not in self._core.asgs:
            return
        surplus = self.size(group) - group.desired
        for _ in range(-surplus):
            if "Launch" in group.suspended or not self._launch(group):
                break
        for _ in range(surplus):
            self.terminate(self.pick_victim(group))

    def alive(self, group: AsgRecord) -> list[InstanceRecord]:
        """Instances that are not leaving, in launch order."""
        return list(self._alive.get(group.name, {}).values())

    def size(self, group: AsgRecord) -> int:
        """How many are alive."""
        return len(self._alive[group.name])

    # --- launching --------------------------------------------------------------------------------------------

    def _launch(self, group: AsgRecord) -> bool:
        """One instance in the zone that has fewest. False when no zone could give one; tried again later."""
        counts = self._zones[group.name]
        for zone in sorted(group.subnets, key=counts.__getitem__):
            if self._core.settings.faults.hits("no_capacity", zone):
                self._failed_launch(group, _NO_CAPACITY.format(type=group.version().instance_type, zone=zone))
                continue
            free, subnet = self._roomiest(group.subnets[zone])
            if free < 1:
                self._failed_launch(group, _NO_ADDRESS.format(subnet=subnet))
                continue
            self._start(group, zone, subnet)
            self._report(group, "")
            return True
        self._report(group, str(group.activities[-1]["message"]))
        if not group.retry_pending:
            group.retry_pending = True
            self._core.later(self._core.settings.durations.launch_retry, lambda: self._try_again(group))
        return False

    def _roomiest(self, subnets: list[str]) -> tuple[int, str]:
        """(free addresses, subnet) of the first that has most."""
        free = [self._core.free_ips(subnet) for subnet in subnets]
        most = max(free)
        return most, subnets[free.index(most)]

    def _report(self, group: AsgRecord, failing: str) -> None:
        """While nothing can be launched the node group is DEGRADED, and says why; afterwards it is ACTIVE again."""
        if failing == group.failing:
            return
        group.failing = failing
        record = self._core.clusters[group.cluster].node_groups.get(group.node_group)
        if record is None:
            return
        kept = [i for i in record.api["health"]["issues"] if i["code"] != LAUNCH_FAILURES]
        issue = {"code": LAUNCH_FAILURES, "message": failing, "resourceIds": [group.name]}
        record.api["health"] = {"issues": [*kept, issue] if failing else kept}
        if record.api["status"] in ("ACTIVE", "DEGRADED"):
            record.api["status"] = "DEGRADED" if record.api["health"]["issues"] else "ACTIVE"

    def _try_again(self, group: AsgRecord) -> None:
        group.retry_pending = False
        self._act(group)

    def _failed_launch(self, group: AsgRecord, message: str) -> None:
        group.activities.append({"at": self._core.now(), "status": "Failed", "message": message})
        del group.activities[:-100]
        self._core.event("instance.refused", group.name, message=message)

    def _start(self, group: AsgRecord, zone: str, subnet: str) -> None:
        core, now = self._core, self._core.now()
        version = group.version()
        address = self._address(subnet)
        instance = InstanceRecord(
            id=f"i-{core.hex(f'instance {group.name}')}",
            asg=group.name,
            cluster=group.cluster,
            node_group=group.node_group,
            zone=zone,
            subnet_id=subnet,
            private_ip=address,
            node_name=node_name(address, core.settings.region),
            image_id=version.image_id,
            instance_type=version.instance_type,
            template_version=version.number,
            launched_at=now,
        )
        self.adopt(instance)
        core.ips_taken[subnet] = core.ips_taken.get(subnet, 0) + 1
        group.activities.append({"at": now, "status": "Successful", "message": f"Launching {instance.id}"})
        core.changed("instance", instance)
        core.event("instance.launched", instance.id, zone=zone, group=group.name, node=instance.node_name)
        times, durations = core.settings.timings, core.settings.durations
        core.post(core.draw(durations.instance_start, f"start {group.name}"), partial(self._running, instance))
        if not core.settings.faults.hits("never_join", group.node_group):
            boot = core.draw(times.node_boot, f"boot {group.name}")
            core.post(max(0.0, boot - times.node_ready_gap.mode), partial(self._join, instance))

    def _address(self, subnet: str) -> str:
        """The next free address of the subnet (the first four are reserved by EC2)."""
        info = self._core.catalogue.subnet(subnet)
        first, usable, written = _addresses(info.cidr if info else "10.0.0.0/16")
        offset = self._offsets.get(subnet, 0)
        for _ in range(usable):
            address = written(first + offset * 37 % usable)  # spread, so that neighbours do not look alike
            offset += 1
            if address not in self._used:
                break
        self._offsets[subnet] = offset
        return address

    def _running(self, instance: InstanceRecord) -> None:
        if not instance.leaving:
            instance.state, instance.lifecycle = "running", "InService"
            self._core.changed("instance", instance)

    def _join(self, instance: InstanceRecord) -> None:
        """The kubelet has started: the node registers and turns Ready on the Kubernetes side."""
        core = self._core
        if instance.leaving or instance.cluster not in core.kubes:
            return
        instance.registered = True
        self._take_addresses(instance)
        core.kubes[instance.cluster].boot_node(self._kinds.spec(instance), partial(self._ready, instance))

    def _take_addresses(self, instance: InstanceRecord) -> None:
        """The VPC CNI attaches a second interface and fills both, as far as the subnet has addresses left."""
        core, subnet = self._core, instance.subnet_id
        kind = core.catalogue.instance_type(instance.instance_type)
        if not core.settings.switches.cni_addresses or kind is None:
            return
        more = max(0, min(2 * kind.addresses - instance.addresses, core.free_ips(subnet)))
        instance.addresses += more
        core.ips_taken[subnet] = core.ips_taken.get(subnet, 0) + more

    def _ready(self, instance: InstanceRecord) -> None:
        if instance.leaving or instance.ready_at is not None:
            return
        instance.ready_at = self._core.now()
        self._joining[instance.asg].pop(instance.id, None)
        self._core.event("node.ready", instance.node_name, instance=instance.id, zone=instance.zone)
        for watcher in self._tell(instance.asg):
            watcher.instance_ready(instance)

    def relabel(self, group: AsgRecord, gone: set[str]) -> None:
        """Carry the node group's labels and taints over to its nodes, and drop the labels `gone`."""
        world = self._core.kube(group.cluster).world
        for instance in self.alive(group):
            node = world.get("nodes", None, instance.node_name)
            if node is None:
                continue
            spec = self._kinds.spec(instance)
            labels, taints = spec.labels, [dict(t) for t in spec.taints]
            kept = [t for t in node["spec"].get("taints") or () if t["key"].startswith("node.")]
            before = {k: text for k, text in node["metadata"].get("labels", {}).items() if k not in gone}
            metadata = {**node["metadata"], "labels": {**before, **labels}}
            world.update("nodes", {**node, "metadata": metadata, "spec": {**node["spec"], "taints": taints + kept}})

    # --- terminating ------------------------------------------------------------------------------------------

    def pick_victim(self, group: AsgRecord) -> InstanceRecord:
        """Scale-in: not joined first, then the zone with most, the oldest template version, then by lot."""
        counts = self._zones[group.name]
        most = max(counts.values())
        zones = {zone for zone, count in counts.items() if count == most}
        joining = self._joining[group.name]
        if joining:
            return next(reversed(joining.values()))
        there = [i for i in self._alive[group.name].values() if i.zone in zones]
        oldest = min({i.template_version for i in there})
        old = [i for i in there if i.template_version == oldest]
        return self._core.rng(f"scale-in {group.name}").choice(old)

    def _leaves(self, instance: InstanceRecord, lifecycle: str) -> None:
        """From now on its group counts it no more."""
        self._zones[instance.asg][instance.zone] -= 1
        del self._alive[instance.asg][instance.id]
        self._joining[instance.asg].pop(instance.id, None)
        instance.lifecycle = lifecycle

    def terminate(self, instance: InstanceRecord, *, drained: bool = False, hook: float = HOOK_SECONDS) -> None:
        """Take the instance away. Unless `drained`, the terminate hook first tries evictions for `hook` seconds."""
        if instance.leaving:
            return
        core = self._core
        self._leaves(instance, "Terminating:Wait")
        core.changed("instance", instance)
        core.event("instance.terminating", instance.id, node=instance.node_name)
        for watcher in self._tell(instance.asg):
            watcher.instance_leaving(instance)
        group = core.asgs[instance.asg]
        if drained or not instance.registered:
            self._shut_down(instance)
        else:
            self._hook_drain(instance, hook)
        if not group.deleting:
            self.act_soon(group)

    def _hook_drain(self, instance: InstanceRecord, seconds: float) -> None:
        drains = self.drains(instance.cluster)
        drains.kube.cordon(instance.node_name)
        over = False

        def go() -> None:
            nonlocal over
            if not over:
                over = True
                drains.stop(instance.node_name)
                timer.cancelled = True
                self._shut_down(instance)

        timer = self._core.later(seconds, go)
        drains.start(instance.node_name, go)

    def _shut_down(self, instance: InstanceRecord) -> None:
        core = self._core
        instance.lifecycle, instance.state = "Terminating:Proceed", "shutting-down"
        core.changed("instance", instance)
        wait = core.draw(core.settings.timings.instance_terminate, f"stop {instance.asg}")
        core.post(wait, partial(self._gone, instance))

    def _gone(self, instance: InstanceRecord) -> None:
        core = self._core
        instance.lifecycle, instance.state = "Terminated", "terminated"
        core.instances.pop(instance.id, None)
        core.members.get(instance.asg, {}).pop(instance.id, None)
        self.by_node.pop((instance.cluster, instance.node_name), None)
        self._used.discard(instance.private_ip)
        core.ips_taken[instance.subnet_id] = core.ips_taken.get(instance.subnet_id, 0) - instance.addresses
        if instance.registered and instance.cluster in core.kubes:
            core.kubes[instance.cluster].remove_node(instance.node_name)
        core.changed("instance", instance)
        core.event("instance.terminated", instance.id, node=instance.node_name)
        for watcher in self._tell(instance.asg):
            watcher.instance_gone(instance)
        group = core.asgs.get(instance.asg)
        if group is not None and group.deleting:
            self._forget_when_empty(group)

    # --- for users --------------------------------------------------------------------------------------------

    def terminate_instance(self, instance_id: str, *, decrement: bool) -> None:
        """TerminateInstanceInAutoScalingGroup. Raises UsageError for an unknown instance or a group at its minimum."""
        instance = self._core.instances.get(instance_id)
        if instance is None:
            raise UsageError(f"instance {instance_id} is in no Auto Scaling group")
        group = self._core.asgs[instance.asg]
        if decrement:
            self.set_sizes(group, desired=group.desired - 1, outside=True)
        self.terminate(instance)

    def lose_instance(self, instance_id: str) -> None:
        """EC2 TerminateInstances or a failed machine: gone at once, no hook, no eviction; the group replaces it."""
        instance = self._core.instances.get(instance_id)
        if instance is None or instance.state == "shutting-down":
            return
        group = self._core.asgs[instance.asg]
        if not instance.leaving:
            self._leaves(instance, "Terminating")
            for watcher in self._tell(instance.asg):
                watcher.instance_leaving(instance)
        self.drains(instance.cluster).stop(instance.node_name)
        self._shut_down(instance)
        self.act_soon(group)

    def remove_group(self, group: AsgRecord, gone: Callable[[], object]) -> None:
        """Drain and terminate everything, then forget the group and call `gone`."""
        group.deleting = True
        group.min_size = group.desired = 0
        self._core.changed("asg", group)
        for instance in self.alive(group):
            self.terminate(instance, hook=DELETE_HOOK_SECONDS)
        self._when_empty[group.name] = gone
        self._forget_when_empty(group)

    def _forget_when_empty(self, group: AsgRecord) -> None:
        if self._core.members.get(group.name) or group.name not in self._when_empty:
            return
        self._core.asgs.pop(group.name, None)
        self._core.members.pop(group.name, None)
        for kept in (self._alive, self._joining, self._zones):
            kept.pop(group.name, None)
        self.watchers.pop(group.name, None)
        self._core.changed("asg-deleted", group)
        self._when_empty.pop(group.name)()


_NO_CAPACITY = (
    "We currently do not have sufficient {type} capacity in the Availability Zone you requested ({zone}). "
    "Our system will be working on provisioning additional capacity. Launching EC2 instance failed."
)
_NO_ADDRESS = (
    "There are not enough free addresses in subnet '{subnet}' to satisfy the requested number of instances. "
    "Launching EC2 instance failed."
)


@lru_cache(maxsize=1024)
def _addresses(cidr: str) -> tuple[int, int, Callable[[int], str]]:
    """A subnet's addresses: the first that is not reserved, how many there are, and how one is written."""
    network = ipaddress.ip_network(cidr, strict=False)
    written = _dotted if network.version == 4 else _with_colons
    return int(network.network_address) + 4, max(1, network.num_addresses - 5), written


def _dotted(address: int) -> str:
    return f"{address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"


def _with_colons(address: int) -> str:
    return str(ipaddress.IPv6Address(address))


def node_name(address: str, region: str) -> str:
    """The private DNS name of an instance, which EKS uses as the node's name."""
    domain = "ec2.internal" if region == "us-east-1" else f"{region}.compute.internal"
    return f"ip-{address.replace('.', '-')}.{domain}"
