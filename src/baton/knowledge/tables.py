"""The tables as one value, `Knowledge`, with the look-ups over them.

Every table is JSON under data/, with the date it was read and the source of each row. They serve where AWS cannot be
asked; live answers (DescribeClusterVersions, DescribeAddonVersions) win where they can be had.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib import resources
from typing import Any

from baton.errors import UsageError
from baton.knowledge.skew import minors_between
from baton.model.cluster import AddonRelease, VersionInfo
from baton.model.versions import AddonVersion, Minor

STANDARD, EXTENDED, UNSUPPORTED = "STANDARD_SUPPORT", "EXTENDED_SUPPORT", "UNSUPPORTED"


@dataclass(frozen=True, slots=True)
class Release:
    """One row of the EKS calendar. ISO dates, "" where not known; `platform` and `patch` are the last known."""

    version: str
    upstream: str
    released: str
    end_standard: str
    end_extended: str
    platform: str
    patch: str
    source: str


@dataclass(frozen=True, slots=True)
class AddonInfo:
    """What an add-on is: EKS type, namespace, main workload (`daemonset aws-node`), whether EKS moves it by one minor
    only."""

    name: str
    type: str
    namespace: str
    workload: str
    one_minor_at_a_time: bool


@dataclass(frozen=True, slots=True)
class ImageFamily:
    """An operating system family. `user_data` is bootstrap.sh, nodeadm, toml, powershell or "" (unknown); `last` the
    last Kubernetes minor it is published for ("" = goes on), `end` the date its support ended."""

    name: str
    title: str
    user_data: str
    last: str
    end: str


@dataclass(frozen=True, slots=True)
class AmiType:
    """A node group's amiType. `variant` is "", nvidia, neuron, fips, nvidia-fips, core-2022, ..."""

    name: str
    family: str
    architecture: str
    variant: str


@dataclass(frozen=True, slots=True)
class ApiRow:
    """A built-in API version that was deprecated or removed; the numbers are minors of Kubernetes 1."""

    group_version: str
    kind: str
    deprecated: int | None
    removed: int | None
    replacement: str


@dataclass(frozen=True, slots=True)
class Knowledge:
    """All tables. Build it with `load()`; tests may `dataclasses.replace` a part."""

    read_on: str
    releases: tuple[Release, ...]
    default_version: str
    addons: Mapping[str, AddonInfo]
    releases_by_addon: Mapping[str, tuple[AddonRelease, ...]]  # newest first
    families: Mapping[str, ImageFamily]
    ami_types: Mapping[str, AmiType]
    image_owners: Mapping[str, str]
    image_release_date: str
    apis: Mapping[tuple[str, str], ApiRow]
    karpenter_minimums: Mapping[str, str]
    prices: Mapping[str, Any]
    rollback_days: int

    @classmethod
    def load(cls) -> Knowledge:
        """The tables that Baton ships; read once."""
        return _load()

    # the release calendar

    def release(self, version: str | Minor) -> Release | None:
        return next((r for r in self.releases if r.version == str(version)), None)

    def versions(self, today: date | str) -> tuple[VersionInfo, ...]:
        """Every version that EKS had released by `today`, oldest first, with its support status on that day (UTC).

        Extended billing begins at the start of the day standard support ends.
        """
        day = str(today)
        return tuple(
            VersionInfo(
                r.version,
                support_status(r, day),
                r.released,
                r.end_standard,
                r.end_extended,
                default=r.version == self.default_version,
                source="table",
            )
            for r in self.releases
            if r.released <= day
        )

    def version(self, version: str | Minor, today: date | str) -> VersionInfo | None:
        return next((v for v in self.versions(today) if v.version == str(version)), None)

    def platform_version(self, version: str) -> str:
        """The last known platform version (`eks.9`); eks.1 when none is."""
        row = self.release(version)
        return row.platform if row is not None and row.platform else "eks.1"

    def patch_version(self, version: str) -> str:
        """The last known patch (`1.35.6`); `.0` when none is."""
        row = self.release(version)
        return row.patch if row is not None and row.patch else f"{version}.0"

    # add-ons

    def addon(self, name: str) -> AddonInfo | None:
        return self.addons.get(name)

    def addon_releases(self, name: str, version: str | Minor | None = None) -> tuple[AddonRelease, ...]:
        """Versions of an add-on, newest first; those that fit a cluster version when one is given."""
        found = self.releases_by_addon.get(name, ())
        return found if version is None else tuple(r for r in found if str(version) in r.compatible)

    def default_addon(self, name: str, version: str | Minor) -> AddonRelease | None:
        """The default version of an add-on for a cluster version, the newest that fits when none is marked."""
        return default_release(self.addon_releases(name, version), str(version))

    # images

    def ami_type(self, name: str) -> AmiType | None:
        return self.ami_types.get(name)

    def family_fits(self, family: str, version: Minor) -> bool:
        """Whether images of a family are made for a Kubernetes version."""
        row = self.families.get(family)
        return row is None or not row.last or version <= Minor.parse(row.last)

    def release_version(self, version: str) -> str:
        """The newest known releaseVersion of an EKS-optimised Amazon Linux image, `1.35.6-20260714`."""
        return f"{self.patch_version(version)}-{self.image_release_date}"

    # APIs

    def removed_between(self, start: Minor, end: Minor) -> tuple[ApiRow, ...]:
        """API versions served at `start` and no longer at `end`."""
        return tuple(r for r in self.apis.values() if r.removed is not None and start.minor < r.removed <= end.minor)

    def api(self, group_version: str, kind: str) -> ApiRow | None:
        return self.apis.get((group_version, kind))

    # controllers and money

    def karpenter_minimum(self, version: Minor) -> str:
        """The oldest Karpenter release for a Kubernetes version; the nearest older row when the table has none."""
        rows = [(Minor.parse(k), v) for k, v in self.karpenter_minimums.items()]
        fitting = [row for row in rows if row[0] <= version]
        return max(fitting)[1] if fitting else ""

    def hourly_price(self, status: str) -> float:
        """USD per cluster and hour in a support status."""
        return float(self.prices["extended_per_hour" if status == EXTENDED else "standard_per_hour"])

    def monthly_price(self, status: str) -> float:
        """USD per cluster and month of 730 hours."""
        return round(self.hourly_price(status) * float(self.prices["hours_per_month"]), 2)


def support_status(release: Release, day: str) -> str:
    """A release's support status on an ISO date."""
    if day < release.released or day >= release.end_extended:
        return UNSUPPORTED
    return EXTENDED if day >= release.end_standard else STANDARD


def default_release(releases: Sequence[AddonRelease], version: str) -> AddonRelease | None:
    """Of releases that may fit, the default for a cluster version, else the newest that fits, else None."""
    fitting = [r for r in releases if version in r.compatible]
    marked = [r for r in fitting if version in r.default_for]
    return max(marked or fitting, key=lambda r: AddonVersion.parse(r.version), default=None)


def day(seconds: float) -> str:
    """Cluster time (seconds since the epoch) as an ISO date, UTC."""
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def days_until(today: date | str, end: str) -> int:
    """Days from `today` to an ISO date; negative when it has passed. Raises UsageError for anything else."""
    try:
        return (date.fromisoformat(end) - date.fromisoformat(str(today))).days
    except ValueError as error:
        raise UsageError(f"not an ISO date: {error}") from error


def _read(name: str) -> dict[str, Any]:
    text = resources.files("baton.knowledge").joinpath("data", name).read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


@functools.cache
def _load() -> Knowledge:
    versions, addons, amis, apis, rest = (
        _read(f"{name}.json") for name in ("versions", "addons", "amis", "apis", "controllers")
    )
    return Knowledge(
        read_on=versions["read_on"],
        releases=tuple(Release(**row) for row in versions["releases"]),
        default_version=versions["default"],
        addons={
            name: AddonInfo(name, row["type"], row["namespace"], row["workload"], row["one_minor_at_a_time"])
            for name, row in addons["addons"].items()
        },
        releases_by_addon={
            name: tuple(_release(name, r) for r in row["releases"]) for name, row in addons["addons"].items()
        },
        families={name: ImageFamily(name, **row) for name, row in amis["families"].items()},
        ami_types={row["name"]: AmiType(**row) for row in amis["ami_types"]},
        image_owners=amis["owners"],
        image_release_date=amis["release_date"],
        apis={
            (r["gv"], r["kind"]): ApiRow(r["gv"], r["kind"], r["deprecated"], r["removed"], r["replacement"] or "")
            for r in apis["apis"]
        },
        karpenter_minimums=rest["karpenter_minimum"],
        prices=rest["prices"],
        rollback_days=rest["rollback_days"],
    )


def _release(name: str, row: Mapping[str, Any]) -> AddonRelease:
    first, last = Minor.parse(row["from"]), Minor.parse(row["to"])
    span = range(minors_between(first, last) + 1)
    return AddonRelease(name, row["version"], tuple(str(first.plus(n)) for n in span), tuple(row["default_for"]))
