"""Which version each add-on takes at each point of the path."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from baton.errors import RefusedError, UsageError
from baton.knowledge.skew import kube_proxy_allowed
from baton.knowledge.tables import Knowledge, default_release
from baton.model.cluster import Addon, AddonRelease, Snapshot
from baton.model.plan import Change
from baton.model.target import ADDON_POLICIES, Target
from baton.model.versions import AddonVersion, Minor

# EKS's own order of updating; the rest follows by name.
ORDER = ("vpc-cni", "kube-proxy", "coredns")


@dataclass(frozen=True, slots=True)
class AddonPlanner:
    """Chooses versions. `now` maps add-ons to their versions at the point the plan has reached."""

    snapshot: Snapshot
    target: Target
    knowledge: Knowledge

    def releases(self, name: str) -> Sequence[AddonRelease]:
        """What AWS said of the add-on, else what the tables say; newest first."""
        live = [r for r in self.snapshot.addon_releases if r.name == name]
        found = live or self.knowledge.releases_by_addon.get(name, ())
        return sorted(found, key=lambda r: AddonVersion.parse(r.version), reverse=True)

    def fits(self, name: str, version: str, minor: Minor) -> bool | None:
        """Whether a version fits a cluster version; None when it is not listed at all."""
        if name == "kube-proxy":
            return kube_proxy_allowed(Minor.parse(version), minor)
        release = next((r for r in self.releases(name) if r.version == version), None)
        return None if release is None else str(minor) in release.compatible

    def choose(self, name: str, installed: str, minor: Minor) -> str:
        """The version for a cluster at `minor`, never below `installed`. Raises RefusedError when none fits."""
        releases = self.releases(name)
        if not releases:
            return installed  # neither AWS nor the tables know it: left alone, and said so in the notes
        floor = AddonVersion.parse(installed)
        fitting = [r for r in releases if str(minor) in r.compatible]
        if name == "kube-proxy":
            fitting = [r for r in fitting if Minor.parse(r.version) == minor]
        above = [r for r in fitting if AddonVersion.parse(r.version) >= floor]
        pin = self.target.addon_pins.get(name)
        if pin:
            return self._pinned(name, pin, installed, fitting, minor)
        if not above:
            if self.fits(name, installed, minor):
                return installed
            raise _none_fits(name, installed, minor, fitting)
        if self.target.addon_policy == "pinned" and self.fits(name, installed, minor):
            return installed
        if self.target.addon_policy == "newest":
            return above[0].version
        default = default_release(fitting, str(minor))
        if default is not None and default in above:
            return default.version
        return installed if self.fits(name, installed, minor) else above[-1].version

    def _pinned(self, name: str, pin: str, installed: str, fitting: Sequence[AddonRelease], minor: Minor) -> str:
        if all(r.version != pin for r in fitting):
            if str(minor) != self.target.version:
                # The pin is for the end of the path; on the way the installed one stays while it fits.
                return installed if self.fits(name, installed, minor) else fitting[0].version if fitting else installed
            raise RefusedError(
                f"add-on {name} {pin} does not fit Kubernetes {minor}",
                where=f"cluster {self.snapshot.cluster.name}",
                hint=f"versions that fit: {', '.join(r.version for r in fitting) or 'none'}",
            )
        return pin

    def steps(self, name: str, installed: str, wanted: str, minor: Minor) -> tuple[str, ...]:
        """The versions to go through, `wanted` last: one minor of the add-on at a time where EKS demands it.

        Raises RefusedError when no version of a minor in between fits the cluster.
        """
        info = self.knowledge.addon(name)
        old, new = AddonVersion.parse(installed), AddonVersion.parse(wanted)
        if info is None or not info.one_minor_at_a_time or old.minor[0] != new.minor[0]:
            return (wanted,) if wanted != installed else ()
        sign = 1 if new > old else -1
        path = []
        for number in range(old.minor[1] + sign, new.minor[1], sign):
            between = [
                r
                for r in self.releases(name)
                if str(minor) in r.compatible and AddonVersion.parse(r.version).minor == (new.minor[0], number)
            ]
            if not between:
                raise RefusedError(
                    f"EKS moves {name} by one minor at a time, and no {new.minor[0]}.{number} version fits "
                    f"Kubernetes {minor}, so it cannot go from {installed} to {wanted}",
                    where=f"cluster {self.snapshot.cluster.name}",
                    hint=f"pin a nearer version: --addon {name}=VERSION",
                )
            path.append(between[0].version)
        return (*path, wanted) if wanted != installed else ()

    def stages(self, now: dict[str, str], minor: Minor) -> list[list[Change]]:
        """The moves at `minor` as lists of changes that run together; `now` is brought up to date."""
        return self._moves(now, minor, lambda name, installed: self.choose(name, installed, minor))

    def before(self, now: dict[str, str], minor: Minor, following: Minor) -> list[list[Change]]:
        """The moves that must come before the control plane leaves `minor` for `following`: add-ons that would not fit
        there go to a version that fits both, where there is one. `now` is brought up to date."""
        return self._moves(now, minor, lambda name, installed: self._bridge(name, installed, minor, following))

    def _bridge(self, name: str, installed: str, minor: Minor, following: Minor) -> str:
        if self.fits(name, installed, following) is not False:
            return installed
        floor = AddonVersion.parse(installed)
        both = [
            r
            for r in self.releases(name)
            if str(minor) in r.compatible
            and AddonVersion.parse(r.version) >= floor
            and self.fits(name, r.version, following)
        ]
        if name == "kube-proxy":
            both = [r for r in both if Minor.parse(r.version) <= minor]
        if not both:
            return installed
        # The smallest step that does: the nearest minor of the add-on, its newest build.
        nearest = min(AddonVersion.parse(r.version).minor for r in both)
        return next(r.version for r in both if AddonVersion.parse(r.version).minor == nearest)

    def _moves(self, now: dict[str, str], minor: Minor, choose: Callable[[str, str], str]) -> list[list[Change]]:
        chains: dict[str, list[Change]] = {}
        for name in in_order(now):
            installed = now[name]
            wanted = choose(name, installed)
            previous = installed
            for step in self.steps(name, installed, wanted, minor):
                chains.setdefault(name, []).append(self._change(name, previous, step, wanted, minor))
                previous = step
            now[name] = wanted
        depth = max((len(chain) for chain in chains.values()), default=0)
        # All chains end together: the last list holds every add-on's final move.
        stages: list[list[Change]] = []
        for row in range(depth):
            stages.append([c[row - depth + len(c)] for c in chains.values() if row - depth + len(c) >= 0])
        return stages

    def _change(self, name: str, previous: str, step: str, wanted: str, minor: Minor) -> Change:
        if step != wanted:
            reason = f"EKS moves {name} by one minor at a time; on the way to {wanted}"
        elif name == "kube-proxy":
            reason = f"kube-proxy follows the control plane's minor, {minor}"
        elif name in self.target.addon_pins:
            reason = "pinned"
        else:
            reason = self._why(name, step, minor)
        return Change("addon", name, previous, step, reason, {"resolve_conflicts": "PRESERVE"})

    def _why(self, name: str, version: str, minor: Minor) -> str:
        if self.target.addon_policy == "newest":
            return f"the newest version that fits Kubernetes {minor}"
        release = next((r for r in self.releases(name) if r.version == version), None)
        if release is not None and str(minor) in release.default_for:
            return f"EKS's default for Kubernetes {minor}"
        return f"the nearest version that fits Kubernetes {minor} and is not below what is installed"


def in_order(names: Iterable[str]) -> list[str]:
    """vpc-cni, kube-proxy, coredns, then by name."""
    return sorted(names, key=lambda n: (ORDER.index(n) if n in ORDER else len(ORDER), n))


def check_policy(target: Target, addons: Sequence[Addon]) -> None:
    """Raises UsageError for an unknown policy or a pin for an add-on that is not installed."""
    if target.addon_policy not in ADDON_POLICIES:
        raise UsageError(f"unknown add-on policy {target.addon_policy!r}", hint=f"one of {', '.join(ADDON_POLICIES)}")
    installed = {a.name for a in addons}
    for name in target.addon_pins:
        if name not in installed:
            raise UsageError(
                f"add-on {name} is pinned but not installed",
                hint=f"installed: {', '.join(sorted(installed)) or 'none'}",
            )


def _none_fits(name: str, installed: str, minor: Minor, fitting: Sequence[AddonRelease]) -> RefusedError:
    lower = f"; below it {fitting[0].version} fits" if fitting else ""
    return RefusedError(
        f"no version of add-on {name} from {installed} on fits Kubernetes {minor}{lower}",
        where=f"add-on {name}",
        hint=f"allow a lower one with --addon {name}=VERSION, or remove the add-on, or wait for a release that fits",
    )
