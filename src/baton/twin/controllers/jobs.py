"""The Job controller in its simple form: parallelism, completions, backoffLimit with its waits, activeDeadlineSeconds;
pods run a drawn time and succeed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from baton.twin.controllers.base import REMOVED, Controller, Group, Key, Obj, Pod
from baton.twin.controllers.pods import PodMaker
from baton.twin.controllers.templates import conditions_with, new_pod
from baton.twin.timefmt import parse, rfc3339

JOBS = "jobs.batch"
_SOURCE = "job-controller"
BACKOFF, BACKOFF_MOST = 10.0, 600.0  # seconds (pkg/controller/job: DefaultJobPodFailureBackOff and its maximum)


@dataclass(slots=True)
class _Failures:
    """What was counted last, failures in a row, and until when the next pod waits."""

    succeeded: int
    failed: int
    run: int = 0
    until: float = 0.0


class JobController(Controller):
    """Keys are (namespace, name). A pod that is deleted while it runs counts as failed and is made again."""

    def __init__(self, cluster: Any, maker: PodMaker) -> None:
        super().__init__(cluster)
        self.maker = maker
        self._failures: dict[str, _Failures] = {}
        self._gone: dict[str, list[int]] = {}  # job uid -> [succeeded, failed] of pods that are no longer there

    def start(self) -> None:
        for obj in list(self.world.items(JOBS)):
            self._recall(obj)
            status = obj.get("status") or {}
            counted = _Failures(int(status.get("succeeded") or 0), int(status.get("failed") or 0))
            self._failures[obj["metadata"]["uid"]] = counted
            self.enqueue((obj["metadata"]["namespace"], obj["metadata"]["name"]))
        self.world.subscribe(self._on_job, resources=[JOBS])

    def _recall(self, obj: Obj) -> None:
        """What the status counts beyond the pods that still exist had been cleaned up before the twin began."""
        status = obj.get("status") or {}
        group = self.cluster.pods.groups.get(obj["metadata"]["uid"])
        pods = list(group.pods.values()) if group is not None else []
        succeeded = int(status.get("succeeded") or 0) - sum(p.phase == "Succeeded" for p in pods)
        failed = int(status.get("failed") or 0) - sum(p.phase == "Failed" for p in pods)
        self._gone[obj["metadata"]["uid"]] = [max(0, succeeded), max(0, failed)]

    def _on_job(self, type_: str, resource: str, obj: Obj, old: Obj | None) -> None:
        if type_ == "DELETED":
            self._gone.pop(obj["metadata"]["uid"], None)
            self._failures.pop(obj["metadata"]["uid"], None)
        elif type_ == "ADDED" or old is None or obj.get("spec") is not old.get("spec"):
            self.enqueue((obj["metadata"]["namespace"], obj["metadata"]["name"]))

    def on_pod(self, pod: Pod, bits: int) -> None:
        group = pod.owner
        if group is None or group.kind != "Job":
            return
        if bits & REMOVED:
            gone = self._gone.setdefault(group.uid, [0, 0])
            gone[0 if pod.phase == "Succeeded" else 1] += 1
        self.enqueue((group.namespace, group.name))

    def sync(self, key: Key) -> None:
        obj = self.world.get(JOBS, *key)
        if obj is None or obj["metadata"].get("deletionTimestamp") or _over(obj):
            return
        uid, spec = obj["metadata"]["uid"], obj["spec"]
        group = self.cluster.pods.group(uid, "Job", *key)
        gone = self._gone.setdefault(uid, [0, 0])
        succeeded = gone[0] + sum(p.phase == "Succeeded" for p in group.pods.values())
        failed = gone[1] + sum(p.phase == "Failed" or p.terminating for p in group.pods.values() if not p.gone)
        parallelism = 1 if spec.get("parallelism") is None else int(spec["parallelism"])
        completions = spec.get("completions")
        needed = int(completions) if completions is not None else (1 if spec.get("parallelism") is None else None)
        limit = 6 if spec.get("backoffLimit") is None else int(spec["backoffLimit"])
        outcome: tuple[str, str, str] | None = None
        if failed > limit:
            outcome = ("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        elif (needed is not None and succeeded >= needed) or (needed is None and succeeded and not group.active):
            outcome = ("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
        if outcome is None and self._late(key, obj):
            outcome = ("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
        if outcome is not None and outcome[0] == "Failed":
            for pod in list(group.pods.values()):
                if not pod.finished:
                    self.maker.delete(pod)
        elif outcome is None and not spec.get("suspend"):
            wanted = parallelism if needed is None else min(parallelism, needed - succeeded)
            if needed is None and succeeded:
                wanted = 0
            if wanted > group.active and not self._backing_off(key, uid, succeeded, failed):
                self._create(obj, group, wanted - group.active)
        self._write(obj, group, succeeded, failed, outcome)

    def _late(self, key: Key, obj: Obj) -> bool:
        """Whether activeDeadlineSeconds are over; looks again when they are."""
        limit = obj["spec"].get("activeDeadlineSeconds")
        if limit is None or obj["spec"].get("suspend"):
            return False
        began = (obj.get("status") or {}).get("startTime")
        due = (parse(began) if began else self.clock.now()) + float(limit)
        if due <= self.clock.now():
            return True
        if not began:
            self.clock.call_at(due + 1.0, lambda: self.enqueue(key))  # startTime has whole seconds
        return False

    def _backing_off(self, key: Key, uid: str, succeeded: int, failed: int) -> bool:
        """After a failure the next pod waits 10 s, 20 s, 40 s... up to 10 minutes (DefaultJobPodFailureBackOff); a
        success begins the count anew. Looks again when the wait is over."""
        seen = self._failures.get(uid)
        if seen is None:
            seen = self._failures[uid] = _Failures(succeeded, failed)
        now = self.clock.now()
        if succeeded > seen.succeeded:
            seen.succeeded, seen.run = succeeded, 0
        if failed > seen.failed:
            seen.run += failed - seen.failed
            seen.failed = failed
            seen.until = now + min(BACKOFF_MOST, BACKOFF * 2.0 ** (min(seen.run, 10) - 1))
            self.clock.call_at(seen.until, lambda: self.enqueue(key))
        return now < seen.until

    def _create(self, obj: Obj, group: Group, count: int) -> None:
        meta = obj["metadata"]
        template = obj["spec"]["template"]

        def build() -> Obj:
            labels = {
                **(template.get("metadata", {}).get("labels") or {}),
                "batch.kubernetes.io/controller-uid": meta["uid"],
                "batch.kubernetes.io/job-name": meta["name"],
                "controller-uid": meta["uid"],
                "job-name": meta["name"],
            }
            spec = self.maker.spec_for(meta["uid"], template)
            reference = self.maker.reference(obj, "batch/v1", "Job")
            return new_pod(name, meta["namespace"], template, spec, reference, labels, generate=meta["name"] + "-")

        for _ in range(count):
            name = self.cluster.name_for_pod(meta["namespace"], meta["name"] + "-")
            self.maker.make(meta["uid"], template, group, name, build)
            self.cluster.record(obj, "Normal", "SuccessfulCreate", f"Created pod: {name}", _SOURCE)

    def _write(self, obj: Obj, group: Group, succeeded: int, failed: int, outcome: tuple[str, str, str] | None) -> None:
        now = rfc3339(self.clock.now())
        before = obj.get("status") or {}
        status: Obj = {"startTime": before.get("startTime", now)}
        for field, value in (
            ("active", group.active),
            ("ready", group.ready),
            ("succeeded", succeeded),
            ("failed", failed),
        ):
            if value:
                status[field] = value
        if before.get("conditions"):
            status["conditions"] = before["conditions"]
        if outcome is not None:
            kind, reason, message = outcome
            status["conditions"] = conditions_with(
                status.get("conditions"),
                {"type": kind, "status": "True", "reason": reason, "message": message, "lastProbeTime": now},
                now,
            )
            if kind == "Complete":
                status["completionTime"] = now
        if status != before:
            self.world.update(JOBS, {**obj, "status": status})
            if outcome is not None and outcome[0] == "Complete":
                self.cluster.record(obj, "Normal", "Completed", "Job completed", _SOURCE)
            elif outcome is not None:
                self.cluster.record(obj, "Warning", outcome[1], outcome[2], _SOURCE)
            self._finish_later(obj, outcome)

    def _finish_later(self, obj: Obj, outcome: tuple[str, str, str] | None) -> None:
        """ttlSecondsAfterFinished: the job and its pods go when it is over."""
        ttl = obj["spec"].get("ttlSecondsAfterFinished")
        if outcome is None or ttl is None:
            return
        namespace, name, uid = obj["metadata"]["namespace"], obj["metadata"]["name"], obj["metadata"]["uid"]

        def expire() -> None:
            there = self.world.get(JOBS, namespace, name)
            if there is not None and there["metadata"]["uid"] == uid:
                self.world.remove(JOBS, namespace, name)

        self.clock.call_later(float(ttl), expire)


def _over(obj: Obj) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return any(c.get("type") in ("Complete", "Failed") and c.get("status") == "True" for c in conditions)
