"""What only a live reading asks for: configuration schemas of add-ons, published images by SSM, disks of templates."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from baton.errors import BatonError, UsageError
from baton.knowledge.ami import kind_of_name, parse_image, ssm_parameter
from baton.knowledge.tables import UNSUPPORTED, Knowledge, default_release
from baton.model.cluster import AddonRelease, NodeGroup, Snapshot
from baton.model.versions import AddonVersion, Minor
from baton.ports import AwsDetails

Missing = Callable[[str, BatonError], None]  # told what could not be read, and why
MOST = 4  # minors ahead that a plan may go through when EKS did not tell its versions


def addon_schemas(details: AwsDetails, snapshot: Snapshot, missing: Missing) -> dict[str, str]:
    """`NAME VERSION` -> schema, of add-ons that are configured: as installed, and where the policies may lead."""
    found: dict[str, str] = {}
    start = Minor.parse(snapshot.cluster.version)
    for addon in snapshot.addons:
        if not addon.configuration.strip():
            continue
        releases = [r for r in snapshot.addon_releases if r.name == addon.name]
        for version in sorted({addon.version, *_may_come(releases, start)}):
            try:
                found[f"{addon.name} {version}"] = details.addon_schema(addon.name, version)
            except BatonError as error:
                missing(f"addon_schemas.{addon.name}", error)
                break
    return found


def _may_come(releases: Sequence[AddonRelease], start: Minor) -> Iterator[str]:
    """The default and the newest version of an add-on for each cluster version from `start` on."""
    minors = {Minor.parse(v) for r in releases for v in r.compatible}
    for minor in sorted(m for m in minors if m >= start):
        fitting = [r for r in releases if str(minor) in r.compatible]
        default = default_release(fitting, str(minor))
        yield max(fitting, key=lambda r: AddonVersion.parse(r.version)).version
        if default is not None:
            yield default.version


def parameters(details: AwsDetails, snapshot: Snapshot, missing: Missing) -> dict[str, tuple[str, ...]]:
    """SSM path -> values: the recommended images of the groups' kinds for every version ahead, () where there is none;
    and the history of those that may know an image which says no version itself."""
    found: dict[str, tuple[str, ...]] = {}
    try:
        for path in sorted(_recommended(snapshot)):
            value = details.parameter(path)
            found[path] = (value,) if value else ()
            if value:
                release = re.sub(r"image_id$", "image_version" if "bottlerocket" in path else "release_version", path)
                told = details.parameter(release)
                found |= {release: (told,)} if told else {}
        for path in sorted(_history(snapshot)):
            found[path] = tuple(details.parameter_history(path)) or found.get(path, ())
    except BatonError as error:
        missing("parameters", error)
    return found


def _recommended(snapshot: Snapshot) -> set[str]:
    start = Minor.parse(snapshot.cluster.version)
    told = [Minor.parse(v.version) for v in snapshot.versions if v.status != UNSUPPORTED]
    minors = [m for m in told if m >= start] or [start.plus(n) for n in range(MOST)]
    return {path for kind in _kinds(snapshot) for minor in minors for path in _path(kind, minor)}


def _kinds(snapshot: Snapshot) -> set[tuple[str, str, str]]:
    """(family, architecture, variant) of the published images that the node groups boot."""
    knowledge = Knowledge.load()
    kinds = set()
    for group in snapshot.node_groups:
        row = knowledge.ami_type(group.ami_type)
        image = snapshot.image(group.image_id)
        if row is not None:
            kinds.add((row.family, row.architecture, row.variant))
        elif image is not None and parse_image(image.name).optimised:
            kinds.add(kind_of_name(image.name, image.architecture))
    return kinds


def _path(kind: tuple[str, str, str], minor: Minor) -> Iterable[str]:
    family, architecture, variant = kind
    try:
        return [ssm_parameter(family, str(minor), architecture, variant)]
    except UsageError:
        return []


def _history(snapshot: Snapshot) -> set[str]:
    """Where the version of an image in use may be found that does not say it, or that is hidden by now."""
    start = Minor.parse(snapshot.cluster.version)
    paths: set[str] = set()
    for group in filter(_unsaid(snapshot), snapshot.node_groups):
        image = snapshot.image(group.image_id)
        architecture = "x86_64" if image is None else image.architecture
        for back in range(4):
            for family in ("al2023", "al2"):
                paths.update(_path((family, architecture, ""), start.plus(-back)))
    return paths


def _unsaid(snapshot: Snapshot) -> Callable[[NodeGroup], bool]:
    def check(group: NodeGroup) -> bool:
        image = snapshot.image(group.image_id)
        told = image is not None and parse_image(image.name, image.description, image.tags).kubernetes is not None
        return group.custom_ami and bool(group.image_id) and not told

    return check
