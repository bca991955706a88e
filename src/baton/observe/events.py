"""The kinds of events of the timeline, in one place. The report is drawn from these alone."""

from __future__ import annotations

from baton.model.events import Event

STARTED = "observation.started"
NODE_SEEN = "node.seen"  # there when observation began
NODE_ADDED = "node.added"
NODE_READY = "node.ready"
NODE_NOT_READY = "node.not-ready"
NODE_CORDONED = "node.cordoned"
NODE_UNCORDONED = "node.uncordoned"
NODE_DRAINING = "node.draining"
NODE_DRAINED = "node.drained"
NODE_REMOVED = "node.removed"
NODE_REPLACED = "node.replaced"
NODE_CHANGED = "node.changed"  # another kubelet or image label on the same node
GROUP_COUNTS = "group.counts"
PODS_COUNTS = "pods.counts"
POD_EVICTED = "pod.evicted"
POD_DISPLACED = "pod.displaced"
POD_PREEMPTED = "pod.preempted"
POD_LOST = "pod.lost"
POD_UNSCHEDULABLE = "pod.unschedulable"
POD_SCHEDULED = "pod.scheduled"
PDB_VIOLATED = "pdb.violated"
WARNING = "cluster.warning"
BLOCKED = "blocker.started"
UNBLOCKED = "blocker.ended"
USAGE = "usage"
HEALTH = "node-group.health"


def timeline_order(event: Event) -> tuple[float, str, str]:
    """Sort key of the timeline: equal times keep what happened to one subject together."""
    return (event.at, event.kind, event.subject)
