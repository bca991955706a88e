"""What a stage's edits change besides its subjects: the two readings of a root, before and after, side by side.

A literal, an expression in a `for_each` or a module that is called twice can stand behind more values than the one that
was meant. Whatever else reads otherwise after the edits is told, so that no edit moves what nobody asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from baton.errors import RefusedError
from baton.terraform.inspection import ClusterConfig, Inspection, Traced


@dataclass(frozen=True, slots=True)
class Stray:
    """A value that reads otherwise; `subject` as in stages.py, ("cluster", "") for the cluster itself."""

    cluster: str
    subject: tuple[str, str]
    what: str
    old: Traced
    new: Traced

    def refused(self) -> RefusedError:
        """The reason not to make the edits."""
        old, new = self.old.value or "none", self.new.value or "none"
        return RefusedError(
            f"the edits would also change {self.what} at {self.cluster} from {old} to {new}",
            where=str(self.new.span or self.old.span or self.cluster),
            hint="both are written in one text: give each its own, or move them in one stage",
        )


def changed(before: Inspection, after: Inspection) -> Iterator[Stray]:
    """Every value that reads otherwise after the edits. A node group that now writes the version which it followed
    until now, and an add-on that now writes the version which a data source picked, are no change: they are held.
    """
    for old, new in zip(before.clusters, after.clusters, strict=True):
        yield from _in_cluster(old, new)


def _in_cluster(old: ClusterConfig, new: ClusterConfig) -> Iterator[Stray]:
    if old.version.value != new.version.value:
        yield Stray(old.address, ("cluster", ""), "the version of the cluster", old.version, new.version)
    for addon, then in zip(old.addons, new.addons, strict=True):
        now_held = addon.follows and not then.follows
        if addon.version.value != then.version.value and not (now_held or then.follows):
            what = f"the version of add-on {addon.name}"
            yield Stray(old.address, ("addon", addon.name), what, addon.version, then.version)
    for group, later in zip(old.node_groups, new.node_groups, strict=True):
        subject = ("node-group", group.name)
        if group.ami.value.value != later.ami.value.value:
            yield Stray(old.address, subject, f"the AMI of node group {group.name}", group.ami.value, later.ami.value)
        optimised = group.ami.kind == "eks-optimised"
        held = optimised and (group.version.value is None or later.version.value is None)
        ignored = not optimised and group.version_key != "version"  # by the module, beside an image of one's own
        if group.version.value != later.version.value and not held and not ignored:
            yield Stray(old.address, subject, f"the version of node group {group.name}", group.version, later.version)
        for key in ("max_unavailable", "max_unavailable_percentage"):
            paced: tuple[Traced, Traced] = (getattr(group, key), getattr(later, key))
            if paced[0].value != paced[1].value:
                yield Stray(old.address, ("pace", group.name), f"{key} of node group {group.name}", *paced)
