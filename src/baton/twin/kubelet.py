"""The kubelets of the twin: pods start, become ready, run to their end and stop, after seeded times.

One object serves all nodes; a node that is unreachable or gone stops reporting, so its pods neither start nor finish
stopping. Heartbeats are not simulated: who reads a node or a lease is told the time of the last one that was due.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

from baton.logic.eviction import controller_of
from baton.twin.controllers.base import ADDED, BOUND, REMOVED, Cluster, Controller, Key, Obj, Pod
from baton.twin.controllers.lean import LeanPod
from baton.twin.controllers.pods import PodMaker
from baton.twin.controllers.templates import conditions_with
from baton.twin.timefmt import rfc3339
from baton.twin.timings import PodTimes

HEARTBEAT = 10.0  # seconds between renewals of a node's lease
_PER_PREFIX = 150  # pod addresses of one /24; the rest is left to nodes
_NONE = PodTimes()


class _Facts(NamedTuple):
    """`probes`: per container with probes, (initialDelaySeconds, periodSeconds) of each; `pre_stop` in seconds."""

    containers: Any
    init: int
    probes: tuple[tuple[tuple[float, float], ...], ...]
    pre_stop: float


class Kubelets(Controller):
    """Hears of pods bound to nodes and of pods asked to go."""

    def __init__(self, cluster: Cluster, maker: PodMaker) -> None:
        super().__init__(cluster)
        self.maker = maker
        self.dead: set[str] = set()  # nodes whose kubelet does not report
        self._by_template: dict[int, _Facts] = {}
        self.bad_images: set[str] = set()  # images that cannot be pulled
        self._rng = cluster.rng("kubelet")
        self._timings = cluster.settings.timings
        self._addresses = 0
        self._taken: dict[str, dict[str, Pod]] = {}
        self._ready_conditions: dict[str, list[Obj]] = {}

    # --- what changed

    def on_placed(self, pod: Pod, bits: int) -> None:
        """A pod is on a node, or came without one."""
        if not pod.node:
            return
        if pod.terminating:
            self._stop(pod)
        elif pod.phase == "Pending":
            self._start(pod)
        elif pod.phase == "Running" and bits & ADDED:
            self._resume(pod)

    def on_running(self, pods: Sequence[Pod], keys: Collection[Key], nodes: Sequence[str]) -> None:
        """Pods of one controller that were running when the twin began."""
        if self._runs_to_end(pods[0]):
            for pod in pods:
                self._resume(pod)

    def on_going(self, pod: Pod, bits: int) -> None:
        """A pod was asked to go."""
        if not bits & (ADDED | BOUND | REMOVED):
            self._stop(pod)

    def _times(self, pod: Pod) -> PodTimes:
        workloads = self.settings.workloads
        return workloads.get(f"{pod.namespace}/{self.workload(pod)}", _NONE) if workloads else _NONE

    def workload(self, pod: Pod) -> str:
        """The name of the pod's top workload: its Deployment rather than its ReplicaSet."""
        group = pod.owner
        if group is None:
            return pod.name
        if group.kind == "ReplicaSet":
            rs = self.world.get("replicasets.apps", pod.namespace, group.name)
            owner = controller_of(rs) if rs is not None else None
            if owner is not None:
                return str(owner["name"])
        return group.name

    def _start(self, pod: Pod) -> None:
        times = self._times(pod) if self.settings.workloads else _NONE
        spec = pod.spec
        if self.bad_images and any(c.get("image") in self.bad_images for c in spec.get("containers") or ()):
            self.clock.post(self._timings.pod_start.draw(self._rng), partial(self._cannot_pull, pod))
            return
        delay = (times.start or self._timings.pod_start).draw(self._rng)
        facts = self._facts_of(pod)
        for _ in range(facts.init):
            delay += self._timings.init_container.draw(self._rng)
        if "volumes" in spec and any(v.get("persistentVolumeClaim") for v in spec["volumes"] or ()):
            delay += self._timings.volume_attach.draw(self._rng)
        if self.settings.detail:
            self.clock.post(0.0, partial(self._creating, pod))
        if self.settings.events:
            self._record_start(pod, delay)
        ready = self._readiness(facts, times)
        self.clock.post(delay, partial(self._started, pod, ready))

    def _facts_of(self, pod: Pod) -> _Facts:
        if not isinstance(pod, LeanPod):
            return self._facts(pod.spec)
        found: _Facts | None = pod.shape.facts
        if found is None:
            found = pod.shape.facts = self._facts(pod.spec)
        return found

    def _facts(self, spec: Obj) -> _Facts:
        """What the containers of a template say about its pods' times; read once per template."""
        containers = spec.get("containers") or ()
        known = self._by_template.get(id(containers))
        if known is not None and known.containers is containers:
            return known
        probes = [[c[k] for k in ("startupProbe", "readinessProbe") if c.get(k)] for c in containers]
        waits = [
            [(float(p.get("initialDelaySeconds") or 0), float(p.get("periodSeconds") or 10)) for p in ps]
            for ps in probes
        ]
        facts = _Facts(
            containers,
            len(spec.get("initContainers") or ()),
            tuple(tuple(w) for w in waits if w),
            max((pre_stop(c) for c in containers), default=0.0),
        )
        if len(self._by_template) > 100_000:
            self._by_template.clear()
        self._by_template[id(containers)] = facts
        return facts

    def _readiness(self, facts: _Facts, times: PodTimes) -> float | None:
        """Seconds from started to Ready; None never."""
        if times.never_ready:
            return None
        if times.ready is not None:
            return times.ready.draw(self._rng)
        slowest = 0.0
        for container in facts.probes:
            wait = 0.0
            for delay, period in container:
                wait += delay + period * self._timings.readiness_phase.draw(self._rng)
            slowest = max(slowest, wait)
        return round(slowest, 3)

    def _resume(self, pod: Pod) -> None:
        """A pod that was running when the twin began."""
        if self._runs_to_end(pod):
            self.clock.post(self._timings.job_run.draw(self._rng), partial(self._finished, pod))

    @staticmethod
    def _runs_to_end(pod: Pod) -> bool:
        return pod.owner is not None and pod.owner.kind == "Job"

    # --- what happens later

    def _alive(self, pod: Pod) -> bool:
        return not pod.gone and pod.node not in self.dead

    def _started(self, pod: Pod, ready: float | None) -> None:
        if not self._alive(pod) or pod.terminating:
            return
        now_ready = ready is not None and ready <= 0
        self._running(pod, now_ready)
        if ready is not None and not now_ready:
            self.clock.post(ready, partial(self._became_ready, pod))
        if self._runs_to_end(pod):
            self.clock.post(self._timings.job_run.draw(self._rng), partial(self._finished, pod))

    def _creating(self, pod: Pod) -> None:
        """The kubelet has seen the pod: its containers wait to be created."""
        if not self._alive(pod) or pod.terminating or pod.phase != "Pending":
            return
        now = rfc3339(self.clock.now())
        spec, before = pod.obj["spec"], pod.obj["status"]
        waits = "PodInitializing" if spec.get("initContainers") else "ContainerCreating"
        status: Obj = {**before, "startTime": before.get("startTime", now)}
        names = " ".join(c.get("name", "") for c in spec.get("containers") or ())
        message = f"containers with unready status: [{names}]"
        conditions = before.get("conditions")
        for kind in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"):
            condition: Obj = {"type": kind, "status": "True" if kind == "Initialized" else "False"}
            if kind.endswith("Ready"):
                condition |= {"reason": "ContainersNotReady", "message": message}
            conditions = conditions_with(conditions, condition, now)
        status["conditions"] = conditions
        self._host(pod, status)
        status["containerStatuses"] = [
            {
                "name": c.get("name", ""),
                "image": c.get("image", ""),
                "imageID": "",
                "ready": False,
                "started": False,
                "restartCount": 0,
                "lastState": {},
                "state": {"waiting": {"reason": waits}},
            }
            for c in spec.get("containers") or ()
        ]
        self.world.update("pods", {**pod.obj, "status": status})

    def _cannot_pull(self, pod: Pod) -> None:
        if not self._alive(pod) or pod.terminating:
            return
        waiting = []
        for container in pod.obj["spec"].get("containers") or ():
            image = container.get("image", "")
            said = f'Back-off pulling image "{image}": ErrImagePull: {image}: not found'
            waiting.append(
                {
                    "name": container.get("name", ""),
                    "image": image,
                    "imageID": "",
                    "ready": False,
                    "started": False,
                    "restartCount": 0,
                    "lastState": {},
                    "state": {"waiting": {"reason": "ImagePullBackOff", "message": said}},
                }
            )
            failed = f'Failed to pull image "{image}": {image}: not found'
            self.cluster.record(pod.obj, "Warning", "Failed", failed, f"kubelet, {pod.node}")
        self.world.update("pods", {**pod.obj, "status": {**pod.obj["status"], "containerStatuses": waiting}})

    def _became_ready(self, pod: Pod) -> None:
        if self._alive(pod) and not pod.terminating and pod.phase == "Running":
            self._running(pod, True)

    def _running(self, pod: Pod, ready: bool) -> None:
        if isinstance(pod, LeanPod):
            self.cluster.lean.run(pod, ready)
            return
        obj = pod.obj
        now = rfc3339(self.clock.now())
        before = obj["status"]
        status: Obj = {**before, "phase": "Running"}
        if "startTime" not in status:
            status["startTime"] = now
        if self.settings.detail:
            self._describe(pod, status, ready, now)
        else:
            status["conditions"] = self._short(before.get("conditions"), ready, now)
        self.world.update("pods", {**obj, "status": status})

    def _short(self, existing: list[Obj] | None, ready: bool, now: str) -> list[Obj]:
        """PodScheduled and Ready only; lists made at the same moment are shared."""
        scheduled = next((c for c in existing or () if c.get("type") == "PodScheduled"), None)
        at = scheduled.get("lastTransitionTime", now) if scheduled else now
        key = f"{at} {now} {ready}"
        found = self._ready_conditions.get(key)
        if found is None:
            if len(self._ready_conditions) > 4096:
                self._ready_conditions.clear()
            found = self._ready_conditions[key] = [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": at},
                {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": now},
            ]
        return found

    def _describe(self, pod: Pod, status: Obj, ready: bool, now: str) -> None:
        spec = pod.obj["spec"]
        truth = "True" if ready else "False"
        conditions = status.get("conditions")
        not_ready: Obj = {}
        if not ready:
            names = " ".join(c.get("name", "") for c in spec.get("containers") or ())
            not_ready = {"reason": "ContainersNotReady", "message": f"containers with unready status: [{names}]"}
        for kind, value in (
            ("PodReadyToStartContainers", "True"),
            ("Initialized", "True"),
            ("Ready", truth),
            ("ContainersReady", truth),
        ):
            conditions = conditions_with(
                _bare(conditions, kind) if value == "True" else conditions,
                {"type": kind, "status": value, **(not_ready if value == "False" else {})},
                now,
            )
        status["conditions"] = conditions
        self._address(pod, status, spec)
        states = [(c.get("state") or {}).get("running") for c in status.get("containerStatuses") or ()]
        began = next((r["startedAt"] for r in states if r), now)
        images = [
            {
                "name": c.get("name", ""),
                "image": c.get("image", ""),
                "imageID": _image_id(c.get("image", "")),
                "containerID": f"containerd://{_digest(pod.uid + c.get('name', ''))}",
                "ready": ready,
                "started": True,
                "restartCount": 0,
                "lastState": {},
                "state": {"running": {"startedAt": began}},
            }
            for c in spec.get("containers") or ()
        ]
        status["containerStatuses"] = images

    def _host(self, pod: Pod, status: Obj) -> str:
        node = self.world.get("nodes", None, pod.node)
        host = ""
        for address in (node or {}).get("status", {}).get("addresses") or ():
            if address.get("type") == "InternalIP":
                host = str(address.get("address", ""))
        if host:
            status["hostIP"] = host
            status["hostIPs"] = [{"ip": host}]
        return host

    def _address(self, pod: Pod, status: Obj, spec: Obj) -> None:
        host = self._host(pod, status)
        if "podIP" not in status:
            ip = host if spec.get("hostNetwork") else self._free_address(host, pod)
            status["podIP"] = ip
            status["podIPs"] = [{"ip": ip}]

    def _free_address(self, host: str, pod: Pod) -> str:
        """An address beside the node's, from above, as the VPC CNI takes one of the node's subnet; a made-up one where
        all of the node's /24 are taken."""
        prefix = host.rpartition(".")[0]
        taken = self._taken.setdefault(prefix, {})
        if len(taken) >= _PER_PREFIX:
            taken = self._taken[prefix] = {ip: p for ip, p in taken.items() if not p.gone}
        for last in range(254, 254 - _PER_PREFIX, -1):
            ip = f"{prefix}.{last}"
            if prefix and (ip not in taken or taken[ip].gone):
                taken[ip] = pod
                return ip
        self._addresses += 1
        n = self._addresses
        return f"10.{128 + (n // 64516) % 128}.{(n // 254) % 254}.{n % 254 + 1}"

    def _finished(self, pod: Pod) -> None:
        if self._alive(pod) and not pod.terminating and pod.phase == "Running":
            self._terminal(pod, "Succeeded", "PodCompleted")

    def _terminal(self, pod: Pod, phase: str, reason: str) -> None:
        if isinstance(pod, LeanPod):
            self.cluster.lean.finish(pod, phase)
            return
        obj, now = pod.obj, rfc3339(self.clock.now())
        status: Obj = {**obj["status"], "phase": phase}
        for kind in ("Ready", "ContainersReady"):
            status["conditions"] = conditions_with(
                status.get("conditions"), {"type": kind, "status": "False", "reason": reason}, now
            )
        if status.get("containerStatuses"):
            code, why = (0, "Completed") if phase == "Succeeded" else (143, "Error")
            status["containerStatuses"] = [
                {
                    **c,
                    "ready": False,
                    "started": False,
                    "state": {"terminated": {"exitCode": code, "reason": why, "finishedAt": now}},
                }
                for c in status["containerStatuses"]
            ]
        self.world.update("pods", {**obj, "status": status})

    # --- stopping

    def _stop(self, pod: Pod) -> None:
        limit = pod.stops_within
        times = self._times(pod) if self.settings.workloads else _NONE
        wish = (times.stop or self._timings.pod_stop).draw(self._rng)
        wish += self._facts_of(pod).pre_stop
        self.clock.post(min(limit, wish), partial(self._stopped, pod))
        if self.settings.events and pod.phase == "Running":
            for container in pod.obj["spec"].get("containers") or ():
                self._say(pod, "Killing", f"Stopping container {container.get('name', '')}")

    def _stopped(self, pod: Pod) -> None:
        if not self._alive(pod):
            return
        if self.settings.detail and pod.phase == "Running" and pod.obj["spec"].get("restartPolicy") == "Always":
            self._terminal(pod, "Succeeded", "PodCompleted")  # the last status before the kubelet lets go
        if isinstance(pod, LeanPod):
            self.cluster.lean.drop(pod)
        elif self._alive(pod):
            self.world.remove("pods", pod.namespace, pod.name)

    def node_back(self, node: str) -> None:
        """The node reports again: what should have started or stopped meanwhile does so now."""
        self.dead.discard(node)
        for pod in self.cluster.pods.on_node(node):
            if pod.terminating:
                self._stop(pod)
            elif pod.phase == "Pending":
                self._start(pod)

    # --- events

    def _record_start(self, pod: Pod, delay: float) -> None:
        if not self.settings.events:
            return
        for index, container in enumerate(pod.obj["spec"].get("containers") or ()):
            image, name = container.get("image", ""), container.get("name", "")
            self._say_later(pod, delay * 0.1, "Pulling", f'Pulling image "{image}"')
            took = f"{delay * 0.6:.3f}s" if delay * 0.6 >= 1 else f"{delay * 600:.0f}ms"
            size = 20_000_000 + int(_digest(image)[:7], 16)  # made up, the same for the same image
            pulled = (
                f'Successfully pulled image "{image}" in {took} ({took} including waiting). Image size: {size} bytes.'
            )
            self._say_later(pod, delay * 0.7, "Pulled", pulled)
            self._say_later(pod, delay * (0.8 + 0.001 * index), "Created", f"Created container: {name}")
            self._say_later(pod, delay, "Started", f"Started container {name}")

    def _say_later(self, pod: Pod, delay: float, reason: str, message: str) -> None:
        self.clock.post(delay, partial(self._say_if_there, pod, reason, message))

    def _say_if_there(self, pod: Pod, reason: str, message: str) -> None:
        if self._alive(pod) and not pod.terminating:
            self._say(pod, reason, message)

    def _say(self, pod: Pod, reason: str, message: str) -> None:
        self.cluster.record(pod.obj, "Normal", reason, message, f"kubelet, {pod.node}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _image_id(image: str) -> str:
    """The image by digest, as the container runtime reports it."""
    name = image.partition("@")[0]
    tail = name.rpartition("/")[2]
    name = name[: len(name) - len(tail)] + tail.partition(":")[0]
    if "/" not in name:
        name = f"docker.io/library/{name}"
    elif "." not in name.partition("/")[0]:
        name = f"docker.io/{name}"
    return f"{name}@sha256:{_digest(image)}"


def _bare(conditions: list[Obj] | None, kind: str) -> list[Obj]:
    """Without the reason and message that a condition of `kind` had while it was False."""
    return [
        {k: v for k, v in c.items() if k not in ("reason", "message")} if c.get("type") == kind else c
        for c in conditions or ()
    ]


def pre_stop(container: Obj) -> float:
    """Seconds that a container's preStop hook sleeps: `sleep: {seconds}` or an exec of `sleep N`."""
    hook: Any = ((container.get("lifecycle") or {}).get("preStop")) or {}
    if hook.get("sleep"):
        return float(hook["sleep"].get("seconds") or 0)
    words = " ".join(str(w) for w in (hook.get("exec") or {}).get("command") or ()).split()
    for word, following in pairwise(words):
        if word == "sleep" and following.rstrip("s").replace(".", "", 1).isdigit():
            return float(following.rstrip("s"))
    return 0.0
