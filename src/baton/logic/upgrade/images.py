"""Which image a node group of a custom AMI moves to. An image that does not say its version is never taken."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from baton.errors import ReadError, RefusedError, UsageError
from baton.knowledge.ami import ImageFacts, kind_of_name, parse_image, retarget_pattern, ssm_parameter
from baton.model import nodes
from baton.model.cluster import Image, NodeGroup, Snapshot
from baton.model.nodes import IMAGE_LABEL, labels, of_group
from baton.model.target import ImageFilter, Target, matches
from baton.model.versions import Minor


@dataclass(frozen=True, slots=True)
class Chosen:
    """`pattern` is the name filter that finds the image (as Terraform's would), "" when it was given by id."""

    image: Image
    pattern: str
    reason: str
    also: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def facts_of(image: Image, snapshot: Snapshot | None = None) -> ImageFacts:
    """What an image says of itself; where it says no version, AWS's SSM parameters in the snapshot may know it."""
    found = parse_image(image.name, image.description, image.tags)
    if found.kubernetes is None and snapshot is not None and (minor := minor_by_ssm(snapshot, image.id)) is not None:
        return replace(found, kubernetes=minor, told_by="SSM history", optimised=True)
    return found


def minor_by_ssm(snapshot: Snapshot, image_id: str) -> Minor | None:
    """The Kubernetes minor of an image that AWS has published, by the SSM parameters that were read."""
    path = next((p for p, values in snapshot.parameters.items() if image_id in values), "")
    found = re.search(r"(?:/|aws-k8s-|EKS_Optimized-)(1\.\d+)(?=[-/])", path)
    return None if found is None else Minor.parse(found[1])


@dataclass(frozen=True, slots=True)
class Recommended:
    """AWS's image for a kind of node, by SSM: `image_id` "" where there is none, None where SSM was not read."""

    path: str
    image_id: str | None
    release: str


def recommended(snapshot: Snapshot, kind: tuple[str, str, str], version: Minor) -> Recommended:
    """`kind` is (family, architecture, variant) as in knowledge.ami."""
    family, architecture, variant = kind
    try:
        path = ssm_parameter(family, str(version), architecture, variant)
    except UsageError:
        return Recommended("", None, "")
    values = snapshot.parameters.get(path)
    release = path.replace("image_id", "image_version" if family == "bottlerocket" else "release_version")
    told = snapshot.parameters.get(release, ())
    return Recommended(path, None if values is None else (values or ("",))[0], told[0] if told else "")


def current_image_id(snapshot: Snapshot, group: NodeGroup) -> str:
    """What the group boots now: as read from its launch template, else as EKS or its nodes tell. "" when unknown."""
    if group.image_id:
        return group.image_id
    if group.release_version.startswith("ami-"):
        return group.release_version
    found = {labels(n).get(IMAGE_LABEL, "") for n in of_group(snapshot, group.name)} - {""}
    return found.pop() if len(found) == 1 else ""


def kubelet_of(
    snapshot: Snapshot, group: NodeGroup, seen: Mapping[str, Sequence[Minor]] | None = None
) -> tuple[Minor, str]:
    """The oldest kubelet of a group and how it was told: from its nodes, else its image, else EKS.

    `seen`: the kubelets of each group's nodes, where they were looked through before. Raises ReadError when nothing
    tells it.
    """
    found = nodes.kubelets(snapshot).get(group.name, ()) if seen is None else seen.get(group.name, ())
    if found:
        return min(found), "its nodes"
    if not group.custom_ami:
        return Minor.parse(group.version), "EKS"
    image_id = current_image_id(snapshot, group)
    image = snapshot.image(image_id)
    told = minor_by_ssm(snapshot, image_id) if image is None else facts_of(image, snapshot).kubernetes
    if told is not None:
        return told, "its image"
    unknown = snapshot.unknown("objects.nodes")
    raise ReadError(
        f"the kubelet version of node group {group.name} is not known"
        + (f": {unknown.reason}" if unknown is not None else ": it has no nodes, and its image does not tell"),
        where=f"node group {group.name}",
        hint="let Baton read the nodes, or tag the image KubernetesVersion=…",
    )


class ImageFinder:
    """Finds images for node groups among those of the snapshot. `filters` maps groups to how Terraform finds theirs."""

    def __init__(self, snapshot: Snapshot, target: Target, filters: Mapping[str, ImageFilter]) -> None:
        self._snapshot = snapshot
        self._target = target
        self._filters = filters

    def available(self, group: NodeGroup, kubelet: Minor, version: Minor) -> bool:
        """Whether `find` would give an image."""
        try:
            self.find(group, kubelet, version)
        except (RefusedError, ReadError):
            return False
        return True

    def find(self, group: NodeGroup, kubelet: Minor, version: Minor) -> Chosen:
        """The image that brings nodes of `group`, now at `kubelet`, to `version`.

        Raises RefusedError when none, several, or only a wrong one matches, ReadError when images could not be read.
        """
        unknown = self._snapshot.unknown("images")
        if unknown is not None:
            raise ReadError(f"the images could not be read: {unknown.reason}", where=f"node group {group.name}")
        try:
            return self._find(group, kubelet, version)
        except RefusedError as error:
            # An owner whose images were not read may well have the one that is missing.
            unread = [u for u in self._snapshot.unknowns if re.match(r"images\.(?!ami-)", u.what)]
            if not unread:
                raise
            reasons = "; ".join(f"{u.what.partition('.')[2]}: {u.reason}" for u in unread)
            raise ReadError(
                f"{error.message}; but not all images could be read ({reasons})", where=error.where, hint=error.hint
            ) from error

    def _find(self, group: NodeGroup, kubelet: Minor, version: Minor) -> Chosen:
        asked = self._target.image(group.name)
        if asked and str(version) == self._target.version:
            return self._asked(group, asked, version)
        current = self._snapshot.image(current_image_id(self._snapshot, group))
        if group.name in self._filters:
            return self._by_filter(group, self._filters[group.name], kubelet, version, current)
        if current is None:
            raise RefusedError(
                f"what node group {group.name} boots now is not known, so no image of its kind can be looked for",
                where=f"node group {group.name}",
                hint=f"name one: --ami {group.name}=ami-… (or its name)",
            )
        return self._by_kind(group, current, version)

    def _asked(self, group: NodeGroup, asked: str, version: Minor) -> Chosen:
        named = ImageFilter(asked)
        matching = [i for i in self._snapshot.images if asked == i.id or named.matches(i.name)]
        if not matching:
            raise RefusedError(
                f"no image matches {asked}",
                where=f"node group {group.name}",
                hint="check the id or name, the region, and who owns or shares the image",
            )
        if len(matching) > 1:
            raise _several(group, asked, matching)
        image = matching[0]
        self._vet(group, image, version, asked)
        return Chosen(image, "" if asked == image.id else asked, f"asked for: {asked}")

    def _by_filter(
        self, group: NodeGroup, filter_: ImageFilter, kubelet: Minor, version: Minor, current: Image | None
    ) -> Chosen:
        pattern = _retarget(filter_.name, kubelet, version, current)
        if pattern.startswith("ami-"):
            if current is None:
                raise RefusedError(
                    f"node group {group.name} names its image by id, {pattern}, which could not be read",
                    where=f"node group {group.name}",
                    hint=f"name the next one: --ami {group.name}=ami-…",
                )
            return self._by_kind(group, current, version)
        exact = not filter_.regex and not set("*?") & set(filter_.name)
        if exact and pattern == filter_.name and current is not None:
            return self._by_kind(group, current, version)  # a name that tells no version: another name of its kind
        matching = [
            i
            for i in self._snapshot.images
            if filter_.matches(i.name, pattern)
            and _owned(i, filter_.owners)
            and i.state == "available"
            and passes(i, filter_.also)
        ]
        if not matching:
            if exact and current is not None:
                return self._by_kind(group, current, version)  # an exact name: its date moves too
            raise RefusedError(
                f"no image matches {pattern}, the name filter of node group {group.name} for Kubernetes {version}"
                + (f", and its filters by {', '.join(filter_.also)}" if filter_.also else ""),
                where=f"node group {group.name}",
                hint=f"build the image first, or name another with --ami {group.name}=NAME; "
                f"near it are: {self._near(filter_.name)}",
            )
        said = [i for i in matching if facts_of(i).kubernetes == version]
        if len(matching) > 1 and not filter_.most_recent:
            raise _several(group, pattern, matching)
        image = newest(matching)
        if said and image not in said and pattern == filter_.name:
            # The filter does not tell versions apart: Terraform would take the newest, whatever it is.
            raise RefusedError(
                f"the filter {pattern} of node group {group.name} takes the newest image, {image.name}, "
                f"which is for Kubernetes {facts_of(image).kubernetes or 'an unknown version'}, not {version}",
                where=f"node group {group.name}",
                hint=f"put the version in the filter, or name the image: --ami {group.name}={newest(said).name}",
            )
        self._vet(group, image, version, pattern)
        more = f", the newest of {len(matching)}" if len(matching) > 1 else ""
        others = f" with {', '.join(filter_.also)}" if filter_.also else ""
        return Chosen(image, pattern, f"matches {pattern}{others}{more}", filter_.also)

    def _by_kind(self, group: NodeGroup, current: Image, version: Minor) -> Chosen:
        """An image of the same owner whose name differs in version, date and build only; of AWS's own images the one
        that AWS recommends, where SSM told."""
        stem = name_stem(current.name)
        if facts_of(current).optimised:
            named = recommended(self._snapshot, kind_of_name(current.name, current.architecture), version)
            image = self._snapshot.image(named.image_id or "")
            if image is not None:
                self._vet(group, image, version, image.name)
                return Chosen(image, image.name, f"AWS's recommended image, by {named.path}")
        matching = [
            i
            for i in self._snapshot.images
            if name_stem(i.name) == stem
            and i.owner == current.owner
            and i.architecture == current.architecture
            and i.state == "available"
            and facts_of(i).kubernetes == version
        ]
        if not matching:
            raise RefusedError(
                f"no image like {current.name} for Kubernetes {version} was found",
                where=f"node group {group.name}",
                hint=f"build it, tag it KubernetesVersion={version}, or name one: --ami {group.name}=NAME",
            )
        image = newest(matching)
        self._vet(group, image, version, image.name)
        more = f", the newest of {len(matching)}" if len(matching) > 1 else ""
        return Chosen(image, image.name, f"of the same kind as {current.name}{more}")

    def _vet(self, group: NodeGroup, image: Image, version: Minor, asked: str) -> None:
        facts = facts_of(image, self._snapshot)
        where = f"node group {group.name}"
        if facts.kubernetes is None:
            raise RefusedError(
                f"image {image.name or image.id} does not say which Kubernetes version its kubelet has"
                + (f" ({facts.disagreement})" if facts.disagreement else ""),
                where=where,
                hint=f"tag it KubernetesVersion={version} if that is so",
            )
        if facts.kubernetes != version:
            raise RefusedError(
                f"image {image.name or image.id} is for Kubernetes {facts.kubernetes} (told by its {facts.told_by}), "
                f"but nodes should move to {version}",
                where=where,
                hint=f"choose an image for {version}" + (f" instead of {asked}" if asked else ""),
            )
        if image.state != "available":
            raise RefusedError(f"image {image.name or image.id} is {image.state}, not available", where=where)
        current = self._snapshot.image(current_image_id(self._snapshot, group))
        if current is not None and current.architecture != image.architecture:
            raise RefusedError(
                f"image {image.name or image.id} is built for {image.architecture}, the group runs "
                f"{current.architecture}",
                where=where,
                hint=f"choose an image for {current.architecture}; another architecture needs a new node group",
            )

    def _near(self, pattern: str) -> str:
        start = re.split(r"[*?\d]", pattern, maxsplit=1)[0]
        near = sorted(i.name for i in self._snapshot.images if start and i.name.startswith(start))
        return ", ".join(near[-5:]) or "none"


def _retarget(pattern: str, kubelet: Minor, version: Minor, current: Image | None) -> str:
    """The filter for the new version: where it names the old one (of the nodes, or of the image in use)."""
    found = retarget_pattern(pattern, kubelet, version)
    if found == pattern and current is not None and (told := facts_of(current).kubernetes) is not None:
        found = retarget_pattern(pattern, told, version)
    if found == pattern and (named := parse_image(pattern).kubernetes) is not None:
        found = retarget_pattern(pattern, named, version)
    return found


def _owned(image: Image, owners: Sequence[str]) -> bool:
    """Whether a filter's owners cover the image; `self` and aliases cannot be told apart here and cover it."""
    ids = [o for o in owners if o.isdigit()]
    return not owners or len(ids) < len(owners) or not image.owner or image.owner in ids


def passes(image: Image, filters: Mapping[str, Sequence[str]]) -> bool:
    """Whether an image passes EC2's filters besides the name; one that is not understood lets everything pass."""
    told = {
        "architecture": image.architecture,
        "description": image.description,
        "ena-support": str(image.ena).lower(),
        "image-id": image.id,
        "is-public": str(image.public).lower(),
        "name": image.name,
        "owner-id": image.owner,
        "root-device-name": image.root_device,
        "root-device-type": image.root_device_type,
        "state": image.state,
        "virtualization-type": image.virtualization_type,
    }
    for name, values in filters.items():
        if name == "tag-key":
            fits = any(matches(v, key) for v in values for key in image.tags)
        elif name.startswith("tag:"):
            text = image.tags.get(name.removeprefix("tag:"))
            fits = text is not None and any(matches(v, text) for v in values)
        else:
            fits = name not in told or any(matches(v, told[name]) for v in values)
        if not fits:
            return False
    return True


def newest(images: Sequence[Image]) -> Image:
    """As `most_recent = true` takes it: by creation date."""
    return max(images, key=lambda i: (i.created_at, i.name))


def name_stem(name: str) -> str:
    """An image's name without versions, dates and builds: golden-eks-1.34-v20261015 -> golden-eks."""
    return re.sub(r"[-_./ ]*v?\d[\d.:_-]*(?=$|[-_./ ])", "", name).lower()


def _several(group: NodeGroup, asked: str, images: Sequence[Image]) -> RefusedError:
    names = ", ".join(f"{i.name} ({i.id})" for i in sorted(images, key=lambda i: i.name)[:5])
    more = f" and {len(images) - 5} more" if len(images) > 5 else ""
    return RefusedError(
        f"{len(images)} images match {asked}: {names}{more}",
        where=f"node group {group.name}",
        hint="name one of them, or set most_recent = true in the data source",
    )
