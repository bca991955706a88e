"""Node images: the triad of custom AMI, target EKS version and Kubernetes version; what an image must be to boot
here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from baton.checks.context import Context
from baton.checks.registry import Result, bad, check, good, unknown
from baton.errors import ReadError, RefusedError
from baton.knowledge.skew import kubelet_allowed
from baton.knowledge.tables import days_until
from baton.logic.upgrade.images import Chosen, ImageFinder, current_image_id, facts_of, kubelet_of, recommended
from baton.logic.upgrade.path import fewest_rolls
from baton.model import nodes
from baton.model.cluster import BlockDevice, Image, NodeGroup
from baton.model.findings import Severity
from baton.model.versions import Minor


def _finder(c: Context) -> ImageFinder:
    return ImageFinder(c.snapshot, c.target, c.filters)


def _next(c: Context, group: NodeGroup) -> Chosen | None:
    """The image a custom group moves to at the end; None when there is none (BTN301 says why)."""
    try:
        kubelet, _ = kubelet_of(c.snapshot, group)
        return _finder(c).find(group, kubelet, c.end)
    except (RefusedError, ReadError):
        return None


@check(
    "BTN301",
    "Custom AMI, EKS version and Kubernetes version fit together",
    Severity.BLOCK,
    "there are no managed node groups",
    needs=("cluster", "node_groups"),
    also=("eksup K8S001", "k8s-upgrade-skills", "insight Kubelet version skew"),
)
def triad(c: Context) -> Iterator[Result]:
    """Three versions must agree at two moments: when the control plane has moved and the nodes have not (their kubelets
    may lag up to three minors, and are never newer), and at the end (the new image's kubelet is the target's). EKS
    cannot see into a custom AMI: it reports the version the group was created at, and boots any image. So Baton reads
    kubelets from the nodes and versions from the image's tags, name and description, and takes no image that does not
    say its version."""
    for group in c.snapshot.node_groups:
        yield _triad_of(c, group)


def _triad_of(c: Context, group: NodeGroup) -> Result:
    subject = f"node group {group.name}"
    try:
        kubelet, told_by = kubelet_of(c.snapshot, group)
    except ReadError as error:
        return unknown(subject, error.message, error.hint or "")
    if kubelet > c.start:
        message = f"kubelet {kubelet} (told by {told_by}) is newer than the control plane's {c.start}"
        return bad(subject, message, f"put the group back on an image for {c.start} first")
    if c.end < c.start:
        return good(subject, f"kubelet {kubelet} under {c.start}")
    finder = _finder(c)

    def available(version: Minor) -> bool:
        return not group.custom_ami or finder.available(group, kubelet, version)

    data: dict[str, Any] = {"kubelet": str(kubelet), "target": str(c.end)}
    rolls = fewest_rolls(kubelet, c.points, available)
    if rolls is None:
        return _no_way(c, group, finder, kubelet)
    if not rolls:
        return good(subject, f"kubelet {kubelet} is at the target", **data)
    told = []
    for version in c.points[1:]:
        at = max((r.to for r in rolls if r.control_plane < version), default=kubelet)
        told.append(f"{at} under {version}")
    image = f" with {finder.find(group, kubelet, c.end).image.name}" if group.custom_ami else ""
    way = f"kubelets {', '.join(told)}, then " if told else "kubelets "
    return good(subject, f"{way}{c.end}{image}", rolls=len(rolls), **data)


def _no_way(c: Context, group: NodeGroup, finder: ImageFinder, kubelet: Minor) -> Result:
    subject = f"node group {group.name}"
    data: dict[str, Any] = {"kubelet": str(kubelet), "target": str(c.end)}
    if group.custom_ami:
        try:
            finder.find(group, kubelet, c.end)
        except ReadError as error:
            return unknown(subject, error.message, error.hint or "")
        except RefusedError as error:
            return bad(subject, error.message, error.hint or "", **data)
    first = next((p for p in c.points if not kubelet_allowed(kubelet, p)), c.end)
    message = f"kubelet {kubelet} may not run under {first}, and no image brings it further on the way"
    return bad(subject, message, f"build an image for a version between {kubelet} and {first}", **data)


@check(
    "BTN302",
    "The new image fits the instances",
    Severity.BLOCK,
    "no node group moves to an image of its own",
    needs=("node_groups", "images"),
    also=("k8s-upgrade-skills",),
)
def image_fits(c: Context) -> Iterator[Result]:
    """An image boots only on instances of its architecture; it must be HVM, backed by EBS and speak ENA on current
    instance types."""
    for group in c.snapshot.node_groups:
        if not group.custom_ami or (chosen := _next(c, group)) is None:
            continue
        image, subject = chosen.image, f"node group {group.name}"
        wrong = []
        arm = {t for t in group.instance_types if is_arm(t)}
        if group.instance_types and image.architecture == "arm64" and len(arm) < len(group.instance_types):
            wrong.append(f"it is built for arm64, {', '.join(sorted(set(group.instance_types) - arm))} is not")
        if arm and image.architecture != "arm64":
            wrong.append(f"it is built for {image.architecture}, {', '.join(sorted(arm))} is arm64")
        if image.virtualization_type != "hvm":
            wrong.append(f"its virtualisation is {image.virtualization_type}, not hvm")
        if image.root_device_type != "ebs":
            wrong.append(f"its root device is {image.root_device_type}, not ebs")
        if not image.ena:
            wrong.append("it does not support ENA")
        if image.state != "available":
            wrong.append(f"it is {image.state}")
        if wrong:
            yield bad(subject, f"{image.name}: {'; '.join(wrong)}", "build or choose another image", image=image.id)
        else:
            yield good(subject, f"{image.name}: {image.architecture}, hvm, ebs, ENA", image=image.id)


def is_arm(instance_type: str) -> bool:
    """Whether an instance type is a Graviton one (a `g` after the generation: m7g, c6gn, t4g; a1 too)."""
    family = instance_type.partition(".")[0]
    digits = next((n for n, ch in enumerate(family) if ch.isdigit()), len(family))
    return family == "a1" or "g" in family[digits:]


@check(
    "BTN303",
    "The new image is what it says",
    Severity.HIGH,
    "no node group moves to an image of its own",
    needs=("node_groups", "images"),
)
def image_contradictions(c: Context) -> Iterator[Result]:
    """An image whose tag, name and description name different Kubernetes versions was tagged or named by mistake."""
    for group in c.snapshot.node_groups:
        if not group.custom_ami or (chosen := _next(c, group)) is None:
            continue
        facts, subject = facts_of(chosen.image, c.snapshot), f"node group {group.name}"
        if facts.disagreement:
            yield bad(subject, f"{chosen.image.name}: {facts.disagreement}", "mend its tags or its name")
        else:
            yield good(subject, f"{chosen.image.name} is for {facts.kubernetes}, told by its {facts.told_by}")


@check(
    "BTN304",
    "The new image is not about to vanish",
    Severity.MEDIUM,
    "no node group moves to an image of its own",
    needs=("node_groups", "images"),
)
def image_age(c: Context) -> Iterator[Result]:
    """A deprecated image is hidden from searches, a deleted one keeps an Auto Scaling group from launching. An old
    image lacks a year of fixes."""
    for group in c.snapshot.node_groups:
        if not group.custom_ami or (chosen := _next(c, group)) is None:
            continue
        image, subject = chosen.image, f"node group {group.name}"
        age = -days_until(c.today, image.created_at[:10]) if len(image.created_at) >= 10 else None
        if image.deprecation_time and days_until(c.today, image.deprecation_time[:10]) <= 30:
            yield bad(subject, f"{image.name} is deprecated from {image.deprecation_time[:10]} on", "build a newer one")
        elif age is not None and age > 180:
            yield bad(subject, f"{image.name} is {age} days old", "build a newer one", Severity.LOW)
        else:
            yield good(subject, f"{image.name} is {'of unknown age' if age is None else f'{age} days old'}")


@check(
    "BTN305",
    "The image filter picks the same image tomorrow",
    Severity.MEDIUM,
    "no image filter is known",
    needs=("terraform", "node_groups", "images"),
)
def filter_pitfalls(c: Context) -> Iterator[Result]:
    """`most_recent = true` takes whatever is newest when Terraform runs: a filter that does not name the Kubernetes
    version picks an image of another version once one is built, one without owners picks a stranger's, and even a good
    one picks the next build, so that an apply for something else rolls all nodes."""
    for group in c.snapshot.node_groups:
        found = c.filters.get(group.name)
        if found is None or found.name.startswith("ami-"):
            continue
        subject = f"node group {group.name}"
        if not found.owners:
            hint = 'set owners = ["self"] or the account that builds it'
            yield bad(subject, f"the filter {found.name} names no owner: anyone's image may match", hint, Severity.HIGH)
        elif not any(str(v) in found.name.replace("-", ".").replace("_", ".") for v in c.points):
            message = f"the filter {found.name} does not name a Kubernetes version"
            yield bad(subject, message, "put the version in the filter, so that another one's image never matches")
        elif found.most_recent and (found.regex or set("*?") & set(found.name)):
            message = f"the filter {found.name} takes the newest image: the next one built rolls the nodes unasked"
            hint = "name one image exactly, or plan applies with new images in mind"
            yield bad(subject, message, hint, Severity.LOW)
        else:
            yield good(subject, f"the filter {found.name} names one image of its owner")


@check(
    "BTN306",
    "No node runs Amazon Linux 2",
    Severity.BLOCK,
    "no node runs Amazon Linux 2",
    needs=("node_groups", "objects.nodes"),
    since="1.32",
    also=("eksup EKS008", "insight Amazon Linux 2 compatibility"),
)
def amazon_linux_2(c: Context) -> Iterator[Result]:
    """AWS made its last Amazon Linux 2 images for Kubernetes 1.32 and stopped on 2025-11-26. Moving to AL2023 or
    Bottlerocket is a new node group (the AMI type cannot be changed in place), other user data (nodeadm or TOML instead
    of bootstrap.sh) and an instance metadata hop limit of 1 to mind. A golden image on AL2 may go on at your own
    risk."""
    al2 = c.knowledge.families["al2"]
    for group in c.snapshot.node_groups:
        subject = f"node group {group.name}"
        kind = c.knowledge.ami_type(group.ami_type)
        shown = {str(nodes.info(n).get("osImage", "")) for n in c.group_nodes[group.name]}
        image = c.snapshot.image(current_image_id(c.snapshot, group))
        by_image = image is not None and facts_of(image).family == "al2"
        by_nodes = any(s.startswith("Amazon Linux 2") and "2023" not in s for s in shown)
        if kind is not None and kind.family == "al2":
            late = c.end > Minor.parse(al2.last)
            message = f"its AMI type is {group.ami_type}; AWS makes no such image after Kubernetes {al2.last}"
            hint = "move its workloads to a new node group on AL2023 or Bottlerocket"
            yield bad(subject, message, hint, None if late else Severity.MEDIUM)
        elif by_nodes or (by_image and not shown):
            hint = "build the next image on AL2023 or Bottlerocket, with user data to match"
            yield bad(subject, "its own image is Amazon Linux 2, unsupported since 2026-06-30", hint, Severity.HIGH)
    for node in c.nodes.values():
        shown_os = str(nodes.info(node).get("osImage", ""))
        if nodes.owner(node) == "self-managed" and shown_os.startswith("Amazon Linux 2") and "2023" not in shown_os:
            yield bad(f"node {nodes.name(node)}", f"runs {shown_os}", "replace it", Severity.HIGH)


FORMATS = (
    ("nodeadm", re.compile(r"node\.eks\.aws/")),
    ("bootstrap.sh", re.compile(r"/etc/eks/bootstrap\.sh")),
    ("toml", re.compile(r"^\s*\[settings[.\]]", re.M)),
    ("powershell", re.compile(r"Start-EKSBootstrap", re.I)),
)
NODEADM_KEYS = ("name", "apiServerEndpoint", "certificateAuthority", "cidr")


def user_data_format(text: str) -> str:
    """nodeadm, bootstrap.sh, toml, powershell, or "" when it is none of them."""
    return next((name for name, pattern in FORMATS if pattern.search(text)), "")


@check(
    "BTN307",
    "User data fits the image",
    Severity.BLOCK,
    "no node group moves to an image of its own",
    needs=("node_groups", "images"),
)
def user_data(c: Context) -> Iterator[Result]:
    """With a custom AMI EKS adds nothing to the user data: it must start the kubelet by itself, in the way of the
    image's family. Amazon Linux 2 and Ubuntu run /etc/eks/bootstrap.sh, AL2023 reads a NodeConfig of nodeadm (name,
    endpoint, CA and service CIDR are all needed), Bottlerocket TOML, Windows PowerShell. The wrong one, and no node
    ever joins."""
    for group in c.snapshot.node_groups:
        if not group.custom_ami or (chosen := _next(c, group)) is None:
            continue
        subject, text = f"node group {group.name}", group.user_data
        family = c.knowledge.families[facts_of(chosen.image, c.snapshot).family]
        if text is None:
            current = c.snapshot.image(current_image_id(c.snapshot, group))
            if current is not None and facts_of(current).family == family.name:
                yield good(subject, f"{chosen.image.name} is of the same family as {current.name}; it was not read")
            else:
                message = f"{chosen.image.name} is of another family than the image in use, and it was not read"
                hint = "let Baton read launch templates (ec2:DescribeLaunchTemplateVersions)"
                yield unknown(subject, message, hint, Severity.HIGH)
            continue
        found = user_data_format(text)
        if family.user_data and found and found != family.user_data:
            message = f"its user data is for {found}, but {chosen.image.name} ({family.title}) needs {family.user_data}"
            yield bad(subject, message, "change the user data together with the image")
        elif not found:
            message = "its user data does not start the kubelet in a known way"
            yield unknown(subject, message, "make sure that the image does it by itself", Severity.MEDIUM)
        elif found == "nodeadm" and (missing := [k for k in NODEADM_KEYS if not re.search(rf"\b{k}\s*:", text)]):
            message = f"its NodeConfig lacks {', '.join(missing)}, which EKS does not add for a custom AMI"
            yield bad(subject, message, "set them under spec.cluster", Severity.HIGH)
        else:
            yield good(subject, f"{found}, as {family.title} {'takes it' if family.user_data else 'has it now'}")


# Kubelet flags that are gone, with the version that refuses to start with them.
GONE_FLAGS = {
    "--container-runtime": "1.27",
    "--keep-terminated-pod-volumes": "1.31",
    "--pod-infra-container-image": "1.35",
}


@check(
    "BTN308",
    "User data passes no kubelet flag that is gone",
    Severity.BLOCK,
    "no user data that was read passes a kubelet flag that is gone",
    needs=("node_groups",),
)
def kubelet_flags(c: Context) -> Iterator[Result]:
    """A kubelet refuses to start with a flag it no longer knows, so the node never joins. --pod-infra-container-image
    went with 1.35, --keep-terminated-pod-volumes with 1.31, --container-runtime with 1.27."""
    crossed = [f for f, v in GONE_FLAGS.items() if c.start < Minor.parse(v) <= c.end]
    for group in c.snapshot.node_groups:
        subject = f"node group {group.name}"
        if group.user_data is None and group.custom_ami and crossed:
            message = f"its user data was not read, so whether it passes {', '.join(crossed)} is not known"
            yield unknown(subject, message, "let Baton read launch templates", Severity.MEDIUM)
        for flag, version in GONE_FLAGS.items():
            used = re.search(rf"{flag}(?![\w-])", group.user_data or "")
            if used and c.end >= Minor.parse(version):
                yield bad(
                    subject, f"its user data passes {flag}, gone since {version}", "take it out with the new image"
                )


def _account(c: Context) -> str:
    """The cluster's account, "" when it is not known."""
    parts = c.snapshot.cluster.arn.split(":")
    return parts[4] if len(parts) > 4 else ""


@check(
    "BTN309",
    "The new image's disks fit the launch template",
    Severity.HIGH,
    "no node group moves to an image of its own",
    needs=("node_groups", "images"),
)
def image_disks(c: Context) -> Iterator[Result]:
    """A launch template sizes the root disk by its device name. When the next image's root has another name (/dev/sda1
    instead of /dev/xvda), the root keeps the image's own size and an empty disk comes beside it; when the template asks
    for less than the image's snapshot holds, EC2 refuses to launch; a disk that the image no longer maps (Bottlerocket
    has two) is gone with what was put there."""
    for group in c.snapshot.node_groups:
        if not group.custom_ami or (chosen := _next(c, group)) is None or not chosen.image.disks:
            continue
        subject, current = f"node group {group.name}", c.snapshot.image(current_image_id(c.snapshot, group))
        wrong = [*_template_disks(chosen.image, group.disks or ()), *_lost_disks(chosen.image, current, group)]
        for message, hint, severity in wrong:
            yield bad(subject, f"{chosen.image.name}: {message}", hint, severity)
        if not wrong:
            disks = ", ".join(f"{d.name} {d.size} GiB" if d.size else d.name for d in chosen.image.disks)
            yield good(subject, f"{chosen.image.name} maps {disks}")


def _template_disks(image: Image, mapped: Sequence[BlockDevice]) -> Iterator[tuple[str, str, Severity | None]]:
    own = {d.name: d for d in image.disks}
    for disk in mapped:
        there = own.get(disk.name)
        if there is not None and disk.size and disk.size < there.size:
            message = f"the launch template gives {disk.name} {disk.size} GiB, the image's snapshot needs {there.size}"
            yield message, "raise the size in the launch template; EC2 refuses to launch otherwise", Severity.BLOCK
    if mapped and image.root_device and image.root_device not in {d.name for d in mapped}:
        names = ", ".join(d.name for d in mapped)
        message = f"its root is {image.root_device}, the launch template maps {names}: the root keeps the image's size"
        yield message, f"map {image.root_device} in the launch template together with the new image", None


def _lost_disks(image: Image, current: Image | None, group: NodeGroup) -> Iterator[tuple[str, str, Severity | None]]:
    if current is None:
        return
    own, mapped = {d.name: d for d in image.disks}, {d.name for d in group.disks or ()}
    for disk in current.disks:
        now = own.get(disk.name)
        if now is None and disk.name != current.root_device and disk.name not in mapped:
            yield f"it has no {disk.name}, which {current.name} has", "make sure that nothing is kept there", None
        elif now is not None and 0 < now.size < disk.size and disk.name not in mapped:
            message = f"{disk.name} shrinks from {disk.size} to {now.size} GiB"
            yield message, "map it in the launch template if nodes need the room", Severity.LOW


# Accounts that publish node images.
PUBLISHERS = ("602401143452", "801119661308", "099720109477", "092701018921")


@check(
    "BTN310",
    "The new image may be launched here, today and tomorrow",
    Severity.HIGH,
    "no node group moves to an image of its own",
    needs=("node_groups", "images", "cluster"),
)
def image_access(c: Context) -> Iterator[Result]:
    """An image of another account boots as long as that account shares it. Disks encrypted with a key of one's own need
    a key policy that lets AWSServiceRoleForAutoScaling use the key and create grants; with a key of another account,
    a grant for that role as well. Without it instances end as soon as they start (Client.InvalidKMSKey.InvalidState),
    and the group's update in NodeCreationFailure. A public image may be anyone's."""
    account = _account(c)
    for group in c.snapshot.node_groups:
        if not group.custom_ami or (chosen := _next(c, group)) is None:
            continue
        image, current = chosen.image, c.snapshot.image(current_image_id(c.snapshot, group))
        subject, known = f"node group {group.name}", current is not None and current.owner == image.owner
        encrypted = any(d.encrypted for d in image.disks)
        before = current is not None and any(d.encrypted for d in current.disks)
        keys = {d.kms_key for d in image.disks if d.kms_key}
        same = current is not None and keys <= {d.kms_key for d in current.disks}
        theirs = bool(account) and image.owner not in ("", account)
        if image.public and image.owner not in PUBLISHERS and not known:
            yield bad(subject, f"{image.name} is a public image of account {image.owner}", "make sure whose it is")
        elif encrypted and not (before and same and known):
            whose = f"a key of account {image.owner}" if theirs else "a key of this account"
            named = f" ({', '.join(sorted(keys))})" if keys else ""
            now = "with another" if before else "not"
            message = f"{image.name} is encrypted with {whose}{named}, the present image is {now}"
            hint = "let AWSServiceRoleForAutoScaling use the key and create grants (its key policy) before nodes roll"
            yield bad(subject, message, hint, None if theirs else Severity.MEDIUM)
        elif theirs and not image.public and not known:
            message = f"{image.name} is shared by account {image.owner}: it boots as long as they share it"
            yield bad(subject, message, "copy it into this account, or make sure that they keep it", Severity.LOW)
        else:
            yield good(subject, f"{image.name} of {'account ' + image.owner if theirs else 'this account'}")


@check(
    "BTN311",
    "AWS has published the images that nodes will boot",
    Severity.HIGH,
    "no node group boots EKS's own images, or SSM was not read",
    needs=("node_groups",),
)
def published(c: Context) -> Iterator[Result]:
    """Node groups on EKS's own images take the one that AWS recommends in its SSM parameters. Some kinds (Windows,
    accelerated images) follow a new Kubernetes version later than others."""
    for group in c.snapshot.node_groups:
        kind = c.knowledge.ami_type(group.ami_type)
        if kind is None:
            continue
        told = recommended(c.snapshot, (kind.family, kind.architecture, kind.variant), c.end)
        subject = f"node group {group.name}"
        if told.image_id == "":
            message = f"AWS names no {group.ami_type} image for {c.end} ({told.path})"
            yield bad(subject, message, "wait until AWS publishes it, or choose another version")
        elif told.image_id is not None:
            release = f", release {told.release}" if told.release else ""
            yield good(subject, f"{told.image_id}{release}")
