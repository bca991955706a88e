"""Other safe ways to the same version, with what each costs beside the plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from baton.errors import BatonError
from baton.model.plan import Stage, StageKind
from baton.model.target import ADDON_POLICIES, Target

POLICIES = {
    "default": "EKS's default add-on versions",
    "newest": "the newest add-ons that fit",
    "pinned": "add-ons as they are while they fit",
}


def other_targets(target: Target, stages: Sequence[Stage] = ()) -> Iterator[tuple[str, str, Target]]:
    """(what, the option that asks for it, the target) of each other way than `stages`."""
    if target.nodes_every_hop:
        yield "nodes as late as skew allows", "without --nodes-every-hop", replace(target, nodes_every_hop=False)
    else:
        yield "nodes at every hop", "--nodes-every-hop", replace(target, nodes_every_hop=True)
    for policy in ADDON_POLICIES:
        if policy != target.addon_policy:
            yield POLICIES[policy], f"--addon-policy {policy}", replace(target, addon_policy=policy)
    groups = len({c.name for s in stages if s.kind is StageKind.NODE_GROUP for c in s.changes})
    if groups > target.parallel_groups:
        option = f"--parallel-groups {groups}"
        yield "the node groups at the same time", option, replace(target, parallel_groups=groups)


def alternatives(target: Target, stages: Sequence[Stage], way: Callable[[Target], Sequence[Stage]]) -> Iterator[str]:
    """One line for each other way that differs from `stages`: node group rolls and add-on updates beside the plan's.

    `way` gives the stages of another target, or raises what refuses it.
    """
    mine = _path(stages)
    for what, option, other in other_targets(target, stages):
        try:
            found = way(other)
        except BatonError as error:
            yield f"{what} ({option}): not possible, {error.message}"
            continue
        if _path(found) != mine:
            yield f"{what} ({option}): {'; '.join(_beside(found, stages))}"


def _beside(found: Sequence[Stage], stages: Sequence[Stage]) -> Iterator[str]:
    counts = []
    for kind, word in ((StageKind.NODE_GROUP, "node group roll"), (StageKind.ADDONS, "add-on update")):
        theirs, ours = count(found, kind), count(stages, kind)
        if theirs != ours:
            counts.append(f"{theirs} {word}{'' if theirs == 1 else 's'} instead of {ours}")
    yield ", ".join(counts) or "as many node group rolls and add-on updates"
    ends, mine = _ends(found), _ends(stages)
    other = [f"{name} {to}" for name, to in ends.items() if mine.get(name) != to]
    other += [f"{name} as it is" for name in mine if name not in ends]
    if other:
        yield f"at the end {', '.join(other)}"


def _ends(stages: Sequence[Stage]) -> dict[str, str]:
    """Where each add-on that moves ends."""
    return {c.name: c.to for s in stages if s.kind is StageKind.ADDONS for c in s.changes}


def count(stages: Sequence[Stage], kind: StageKind) -> int:
    """How many things move in stages of a kind."""
    return sum(len(s.changes) for s in stages if s.kind is kind)


def _path(stages: Sequence[Stage]) -> list[tuple[StageKind, list[tuple[str, str]]]]:
    return [(s.kind, [(c.name, c.to) for c in s.changes]) for s in stages]
