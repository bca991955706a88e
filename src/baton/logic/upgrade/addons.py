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

Kubelets = frozenset[Minor]

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

    def choose(self, name: str, installed: str, minor: Minor, kubelets: Kubelets = frozenset()) -> str:
        """The version for a cluster at `minor`, never below `installed`. Raises RefusedError when none fits.

        Where a version is listed for the older minors of the nodes' `kubelets` as well, one of those is taken.
        """
        releases = self.releases(name)
        if not releases:
            return installed  # neither AWS nor the tables know it: left alone, and said so in the notes
        floor = AddonVersion.parse(installed)
        fitting = [r for r in releases if str(minor) in r.compatible]
        if name == "kube-proxy":
            fitting = [r for r in fitting if Minor.parse(r.version) == minor]
        above = [r for r in fitting if AddonVersion.parse(r.version) >= floor]
        if self.target.addon_pins.get(name):
            return self._pinned(name, self.target.addon_pins[name], installed, fitting, minor)
        if not above:
            if self.fits(name, installed, minor):
                return installed
            raise _none_fits(name, installed, minor, fitting)
        if self.target.addon_policy == "pinned" and self.fits(name, installed, minor):
            return installed
        return self._by_policy(name, installed, minor, self._with_nodes(name, above, kubelets), fitting)

    def _by_policy(
        self, name: str, installed: str, minor: Minor, pool: Sequence[AddonRelease], fitting: Sequence[AddonRelease]
    ) -> str:
        if self.target.addon_policy == "newest":
            return pool[0].version
        default = default_release(fitting, str(minor))
        if default is not None and default in pool:
            return default.version
        listed = installed in {r.version for r in pool}
        if listed or (self.fits(name, installed, minor) and (default is None or _newer(installed, default.version))):
            return installed
        below = [r for r in pool if default is not None and _newer(default.version, r.version)]
        return below[0].version if below else pool[-1].version

    def _with_nodes(self, name: str, releases: Sequence[AddonRelease], kubelets: Kubelets) -> Sequence[AddonRelease]:
        """Those of `releases` that are listed for the nodes' minors as well; all of them where none is.

        kube-proxy goes by skew instead: what the control plane takes, its kubelets take too.
        """
        if name == "kube-proxy":
            return releases
        both = [r for r in releases if all(str(k) in r.compatible for k in kubelets)]
        return both or releases

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

    def stages(self, now: dict[str, str], minor: Minor, kubelets: Kubelets = frozenset()) -> list[list[Change]]:
        """The moves at `minor`, beside nodes at `kubelets`, as lists of changes that run together; `now` is brought up
        to date."""
        older = frozenset(k for k in kubelets if k != minor)
        return self._moves(now, minor, lambda name, installed: self.choose(name, installed, minor, older), older)

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
            # It belongs to the control plane's minor, and lasts longest there; never newer.
            both = [r for r in both if Minor.parse(r.version) <= minor]
            both = [r for r in both if Minor.parse(r.version) == max(Minor.parse(b.version) for b in both)]
        if not both:
            return installed
        # The smallest step that does: the nearest minor of the add-on, its newest build.
        nearest = min(AddonVersion.parse(r.version).minor for r in both)
        return next(r.version for r in both if AddonVersion.parse(r.version).minor == nearest)

    def _moves(
        self, now: dict[str, str], minor: Minor, choose: Callable[[str, str], str], older: Kubelets = frozenset()
    ) -> list[list[Change]]:
        chains: dict[str, list[Change]] = {}
        for name in in_order(now):
            installed = now[name]
            wanted = choose(name, installed)
            previous = installed
            for step in self.steps(name, installed, wanted, minor):
                chains.setdefault(name, []).append(self._change(name, previous, step, wanted, minor, older))
                previous = step
            now[name] = wanted
        depth = max((len(chain) for chain in chains.values()), default=0)
        # All chains end together: the last list holds every add-on's final move.
        stages: list[list[Change]] = []
        for row in range(depth):
            stages.append([c[row - depth + len(c)] for c in chains.values() if row - depth + len(c) >= 0])
        return stages

    def _change(self, name: str, previous: str, step: str, wanted: str, minor: Minor, older: Kubelets) -> Change:
        if step != wanted:
            reason = f"EKS moves {name} by one minor at a time; on the way to {wanted}"
        elif name == "kube-proxy" and step != self.target.addon_pins.get(name):
            reason = f"kube-proxy follows the control plane's minor, {minor}"
        elif step == self.target.addon_pins.get(name):
            reason = "asked for"
        else:
            reason = self._why(name, step, minor, older)
        return Change("addon", name, previous, step, reason, {"resolve_conflicts": "PRESERVE"})

    def _why(self, name: str, version: str, minor: Minor, older: Kubelets) -> str:
        release = next((r for r in self.releases(name) if r.version == version), None)
        nodes = " and ".join(map(str, sorted(older)))
        both = release is not None and bool(older) and all(str(k) in release.compatible for k in older)
        beside = f" and the nodes' {nodes}" if both else ""
        if self.target.addon_policy == "newest":
            why = f"the newest version that fits Kubernetes {minor}{beside}"
        elif release is not None and str(minor) in release.default_for:
            why = f"EKS's default for Kubernetes {minor}"
        elif both:
            why = f"fits Kubernetes {minor}{beside}"
        else:
            why = f"the nearest version that fits Kubernetes {minor} and is not below what is installed"
        if older and not both and release is not None:
            why += f"; no version is listed for the nodes' {nodes} as well, and EKS goes by the cluster's version"
        return why


def _newer(version: str, than: str) -> bool:
    return AddonVersion.parse(version) > AddonVersion.parse(than)


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
