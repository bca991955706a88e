"""What was observed, one value per happening; the timeline is a list of these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """`at` is cluster time in seconds since the epoch; `kind` is dotted (`node.ready`, `pod.evicted`, `stage.started`).

    `source` says who saw it: kube (watch), aws (an answer), conductor (what it did), twin.
    """

    at: float
    kind: str
    subject: str
    source: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One Kubernetes watch event: type ADDED | MODIFIED | DELETED, resource as in Snapshot.objects."""

    type: str
    resource: str
    object: Mapping[str, Any]
    at: float = 0.0
