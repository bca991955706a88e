"""Provider versions as `.terraform.lock.hcl` holds them, and what the gate says when they have changed.

A provider that is upgraded on the way, by `init -upgrade` or a merged branch, changes plans for reasons that have
nothing to do with the stage: defaults, drift detection, schema upgrades of the state.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from baton.terraform.expected import REFUSE, WARN, GateFinding

LOCK_FILE = ".terraform.lock.hcl"
_PROVIDER = re.compile(r'^provider\s+"([^"]+)"\s*\{(.*?)^\}', re.M | re.S)
_VERSION = re.compile(r'^\s*version\s*=\s*"([^"]+)"', re.M)
_HASH = re.compile(r'"((?:h1|zh):[^"]+)"')


@dataclass(frozen=True, slots=True)
class Locked:
    """One provider of a lock file. `hashes` as written there, h1 and zh."""

    version: str
    hashes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Made:
    """How a Terraform plan was made, as far as it can be told.

    `targets` are its -targets, None when not known (the JSON of a plan does not say them). `providers` are those locked
    when it was made, `committed` those of the commit to compare with; None when there is no such file.
    """

    targets: tuple[str, ...] | None = None
    providers: Mapping[str, Locked] | None = None
    committed: Mapping[str, Locked] | None = None


def locked(text: str | None) -> dict[str, Locked] | None:
    """The providers of a lock file's text, by source address; None for None."""
    if text is None:
        return None
    found = {}
    for source, body in _PROVIDER.findall(text):
        version = _VERSION.search(body)
        if version is not None:
            found[source] = Locked(version[1], frozenset(_HASH.findall(body)))
    return found


def versions(providers: Mapping[str, Locked] | None) -> dict[str, str]:
    """Source address -> version, as a plan records it."""
    return {source: lock.version for source, lock in sorted((providers or {}).items())}


@dataclass
class _Lines:
    """Findings, each provider told once."""

    told: set[str] = field(default_factory=set)

    def refuse(self, code: str, source: str, message: str, hint: str) -> Iterator[GateFinding]:
        if source not in self.told:
            self.told.add(source)
            yield GateFinding(code, REFUSE, _short(source), "provider", message, "version", hint)

    def warn(self, code: str, source: str, message: str) -> Iterator[GateFinding]:
        if source not in self.told:
            self.told.add(source)
            hint = "see that it belongs to what is applied here"
            yield GateFinding(code, WARN, _short(source), "provider", message, "version", hint)


def _short(source: str) -> str:
    return "provider " + source.removeprefix("registry.terraform.io/").removeprefix("registry.opentofu.org/")


_BACK = f"put {LOCK_FILE} back and run `init`; upgrade the provider by itself, before or after the cluster"


def provider_findings(recorded: Mapping[str, str], made: Made) -> Iterator[GateFinding]:
    """Providers that are others than when the upgrade was planned (`recorded`), or than what is committed."""
    now = made.providers
    if now is None:
        return
    lines = _Lines()
    for source in sorted({*recorded, *now} if recorded else ()):
        before, lock = recorded.get(source), now.get(source)
        if lock is None:
            yield from lines.warn("provider-removed", source, f"{before} was locked when the upgrade was planned")
        elif before is None:
            text = f"{lock.version} is locked now, and was not when the upgrade was planned"
            yield from lines.warn("provider-added", source, text)
        elif before != lock.version:
            text = f"version {before} when the upgrade was planned, {lock.version} in this plan"
            yield from lines.refuse("provider-changed", source, text, _BACK)
    for source, was in sorted((made.committed or {}).items()):
        is_ = now.get(source)
        if is_ is None:
            continue
        if is_.version != was.version:
            text = f"version {was.version} is committed, {is_.version} is in this plan"
            if recorded.get(source) == is_.version:
                yield from lines.warn("provider-not-committed", source, text)
            else:
                yield from lines.refuse("provider-changed", source, text, _BACK)
        elif was.hashes and is_.hashes and not was.hashes & is_.hashes:
            text = f"version {was.version} has other checksums than those committed: other bytes under one number"
            yield from lines.refuse("provider-checksums", source, text, _BACK)
