"""RFC 3339 times as Kubernetes writes them (whole seconds, Z), from and to seconds since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache


@lru_cache(maxsize=64)
def _date(days: int) -> str:
    return datetime.fromtimestamp(days * 86400, UTC).strftime("%Y-%m-%d")


@lru_cache(maxsize=4096)
def _whole(seconds: int) -> str:
    days, rest = divmod(seconds, 86400)
    minutes, second = divmod(rest, 60)
    return f"{_date(days)}T{minutes // 60:02d}:{minutes % 60:02d}:{second:02d}Z"


def rfc3339(seconds: float) -> str:
    """`2026-11-23T09:00:00Z`; fractions are dropped, as metav1.Time does."""
    return _whole(int(seconds))


def rfc3339_micro(seconds: float) -> str:
    """`2026-11-23T09:00:00.250000Z`, metav1.MicroTime (leases, events.k8s.io)."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse(text: str) -> float:
    """Seconds since the epoch. Raises ValueError for what is not RFC 3339."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
