"""Add-ons: their health, versions for the target, kube-proxy's place between API server and kubelets."""

from __future__ import annotations

import re
from collections.abc import Iterator

from baton.checks.context import Context, parse_minor
from baton.checks.registry import Result, bad, check, good, unknown
from baton.errors import RefusedError
from baton.knowledge.skew import kube_proxy_allowed
from baton.logic.upgrade import schemas
from baton.logic.upgrade.addons import AddonPlanner
from baton.model import nodes
from baton.model.cluster import Addon
from baton.model.findings import Severity
from baton.model.versions import Minor

SELF_MANAGED = {
    "vpc-cni": ("daemonsets.apps", "aws-node"),
    "kube-proxy": ("daemonsets.apps", "kube-proxy"),
    "coredns": ("deployments.apps", "coredns"),
}


@check(
    "BTN701",
    "Add-ons are ACTIVE and healthy",
    Severity.HIGH,
    "no managed add-ons are installed",
    needs=("addons",),
    also=("eksup EKS004", "k8s-upgrade-skills"),
)
def addon_health(c: Context) -> Iterator[Result]:
    """EKS refuses to update an add-on that is being updated; one that is DEGRADED before is not mended by a new
    version."""
    for addon in c.snapshot.addons:
        subject = f"add-on {addon.name}"
        busy = addon.status in ("CREATING", "UPDATING", "DELETING")
        issues = "; ".join(f"{i.code}: {i.message}" for i in addon.health)
        if addon.status != "ACTIVE":
            hint = "wait for it" if busy else "see its pods in kube-system"
            message = f"is {addon.status}" + (f": {issues}" if issues else "")
            yield bad(subject, message, hint, Severity.BLOCK if busy else None)
        elif issues:
            yield bad(subject, issues, "mend it first")
        else:
            yield good(subject, f"{addon.version}, ACTIVE")


@check(
    "BTN702",
    "Every add-on has a version for every step",
    Severity.BLOCK,
    "no managed add-ons are installed",
    needs=("addons",),
    also=("eksup EKS005", "refresh", "insight EKS add-on version compatibility"),
)
def addon_versions(c: Context) -> Iterator[Result]:
    """For every version on the way there must be a version of the add-on that fits and is not below the installed one;
    vpc-cni must get there one minor at a time. DescribeAddonVersions decides, the tables where it was not read."""
    planner = AddonPlanner(c.snapshot, c.target, c.knowledge)
    for addon in c.snapshot.addons:
        subject = f"add-on {addon.name}"
        if not planner.releases(addon.name):
            message = f"{addon.version}: neither AWS nor the tables say which cluster versions it fits"
            yield unknown(subject, message, "ask its vendor, then waive this", Severity.HIGH)
            continue
        try:
            way = _way(c, planner, addon)
        except RefusedError as error:
            yield bad(subject, error.message, error.hint or "", installed=addon.version)
            continue
        told = ", ".join(f"{version} at {minor}" for minor, version in way)
        yield good(subject, f"{addon.version} -> {told}", installed=addon.version, to=way[-1][1])


def _way(c: Context, planner: AddonPlanner, addon: Addon) -> list[tuple[Minor, str]]:
    """The add-on's version at each minor on the way, beside nodes that follow at the end. Raises RefusedError."""
    kubelets = frozenset(
        k for n in c.nodes.values() if (k := nodes.kubelet(n)) and nodes.owner(n) not in ("fargate", "auto")
    )
    now, way = addon.version, []
    for minor in c.points[1:] or c.points:
        older = frozenset(k for k in kubelets if k != minor) if minor != c.end else frozenset()
        wanted = planner.choose(addon.name, now, minor, older)
        planner.steps(addon.name, now, wanted, minor)
        way.append((minor, wanted))
        now = wanted
    return way


@check(
    "BTN703",
    "Installed add-ons outlast the control plane's move",
    Severity.HIGH,
    "every installed add-on fits the next version",
    needs=("addons",),
    also=("AWS upgrade skill",),
)
def addon_bridge(c: Context) -> Iterator[Result]:
    """Add-ons are updated after the control plane, so for a while the installed version runs under the next one. The
    plan moves those first that have a version for both; where there is none, the add-on runs unsupported until its
    turn."""
    planner = AddonPlanner(c.snapshot, c.target, c.knowledge)
    for addon in c.snapshot.addons if len(c.points) > 1 else ():
        following = c.points[1]
        if planner.fits(addon.name, addon.version, following) is not False:
            continue
        moved = planner.before({addon.name: addon.version}, c.start, following)
        subject = f"add-on {addon.name}"
        if moved:
            last = moved[-1][0].to
            yield good(subject, f"{addon.version} does not fit {following}; the plan moves it to {last} first")
        else:
            message = f"{addon.version} does not fit {following}, and no version fits both {c.start} and {following}"
            yield bad(subject, message, "it runs unsupported between the control plane's stage and its own")


@check(
    "BTN709",
    "Add-on settings fit the next version's schema",
    Severity.HIGH,
    "no add-on that moves is configured",
    needs=("addons",),
)
def addon_settings(c: Context) -> Iterator[Result]:
    """Each add-on version has a JSON schema for its configuration values (aws eks describe-addon-configuration). EKS
    refuses an update whose values do not fit the new one: a setting that is gone, renamed or of another type stops the
    add-on's stage, after the control plane has moved."""
    planner = AddonPlanner(c.snapshot, c.target, c.knowledge)
    for addon in c.snapshot.addons:
        to = _end_of(c, planner, addon)
        if not addon.configuration.strip() or to == addon.version:
            continue
        subject = f"add-on {addon.name}"
        schema = schemas.parse(c.snapshot.addon_schemas.get(f"{addon.name} {to}", ""))
        before = schemas.parse(c.snapshot.addon_schemas.get(f"{addon.name} {addon.version}", ""))
        values = schemas.parse(addon.configuration)
        if schema is None or values is None:
            what = "its values are not JSON" if values is None else f"the schema of {to} was not read"
            hint = f"compare: aws eks describe-addon-configuration --addon-name {addon.name} --addon-version {to}"
            yield unknown(subject, f"it is configured, and {what}", hint, Severity.LOW)
            continue
        told = "" if before is None else _told(schemas.changes(before, schema))
        wrong = schemas.violations(values, schema)
        if wrong:
            yield bad(subject, f"{to} would refuse its settings: {'; '.join(wrong)}", f"change them first{told}")
        else:
            yield good(subject, f"its settings fit {to}{told}")


def _end_of(c: Context, planner: AddonPlanner, addon: Addon) -> str:
    """Where the add-on ends; where it is when no version fits (BTN702 tells)."""
    try:
        return _way(c, planner, addon)[-1][1]
    except RefusedError:
        return addon.version


def _told(changes: list[str]) -> str:
    return f" (its schema changes: {'; '.join(changes[:6])})" if changes else ""


def image_version(image: str) -> Minor | None:
    """The Kubernetes minor in a kube-proxy image tag (`...:v1.34.6-minimal-eksbuild.2`)."""
    return parse_minor(image.rpartition(":")[2])


@check(
    "BTN704",
    "kube-proxy stays within the skew",
    Severity.BLOCK,
    "no kube-proxy was found",
    needs=("addons", "objects.daemonsets.apps", "objects.nodes"),
    also=("eksup K8S011", "insight kube-proxy version skew"),
)
def kube_proxy_skew(c: Context) -> Iterator[Result]:
    """kube-proxy is never newer than the API server, no more than three minors older, and within three minors of the
    kubelet beside it. Baton moves the managed add-on at every version; a self-managed one it cannot move."""
    managed = next((a for a in c.snapshot.addons if a.name == "kube-proxy"), None)
    image = _image(c, *SELF_MANAGED["kube-proxy"])
    version = parse_minor(managed.version) if managed is not None else image_version(image) if image else None
    if version is None:
        if image:
            yield unknown("kube-proxy", f"its version cannot be told from {image}", "tag the image with its version")
        return
    kubelets = {k for n in c.nodes.values() if (k := nodes.kubelet(n)) is not None and nodes.owner(n) != "fargate"}
    points = c.points[:2] if managed is not None else c.points
    wrong = [p for p in points if not kube_proxy_allowed(version, p, kubelets if p == c.start else ())]
    who = "add-on kube-proxy" if managed is not None else "kube-proxy (self-managed)"
    if not wrong:
        yield good(who, f"{version}, allowed under {', '.join(map(str, points))}")
    elif managed is not None and wrong == [c.points[-1]] and len(c.points) > 1:
        yield good(who, f"{version} is too old for {wrong[0]}; the plan moves it first")
    else:
        beside = f" beside kubelets {', '.join(map(str, sorted(kubelets)))}" if wrong[0] == c.start else ""
        yield bad(who, f"{version} is not allowed under {wrong[0]}{beside}", "update kube-proxy first")


def _image(c: Context, resource: str, name: str) -> str:
    for obj in c.objects(resource):
        if nodes.name(obj) == name and obj["metadata"].get("namespace") == "kube-system":
            containers = obj.get("spec", {}).get("template", {}).get("spec", {}).get("containers") or [{}]
            return str(containers[0].get("image", ""))
    return ""


@check(
    "BTN705",
    "Networking add-ons are managed by EKS",
    Severity.MEDIUM,
    "vpc-cni, kube-proxy and coredns are managed by EKS, or are not installed",
    needs=("addons", "objects.daemonsets.apps", "objects.deployments.apps"),
    also=("eksctl utils",),
)
def self_managed(c: Context) -> Iterator[Result]:
    """vpc-cni, kube-proxy and coredns installed without EKS's add-on API keep their versions through the upgrade.
    Update them by their manifests, or make them managed add-ons (aws eks create-addon) first."""
    managed = {a.name for a in c.snapshot.addons}
    for name, (resource, workload) in SELF_MANAGED.items():
        image = "" if name in managed else _image(c, resource, workload)
        if image:
            yield bad(f"add-on {name}", f"runs self-managed: {image}", "update it by hand, after the control plane")


@check(
    "BTN706",
    "kube-proxy does not use IPVS",
    Severity.LOW,
    "kube-proxy is not configured for IPVS",
    needs=("addons", "objects.daemonsets.apps"),
    since="1.35",
    also=("eksup K8S012",),
)
def ipvs(c: Context) -> Iterator[Result]:
    """kube-proxy's IPVS mode is on its way out: deprecated with a warning from 1.35, off by default from 1.40, gone in
    1.43 (KEP-5495). Other tools say it is removed in 1.36; it is not. Baton reads the add-on's configuration and the
    arguments of the DaemonSet."""
    told = [a.configuration for a in c.snapshot.addons if a.name == "kube-proxy"]
    for obj in c.objects("daemonsets.apps"):
        if nodes.name(obj) == "kube-proxy":
            for container in obj.get("spec", {}).get("template", {}).get("spec", {}).get("containers") or ():
                told.append(" ".join([*(container.get("command") or ()), *(container.get("args") or ())]))
    if any(re.search(r"""(?:"mode"\s*:\s*"|mode:\s*"?|--proxy-mode[= ])ipvs""", text) for text in told):
        yield bad("add-on kube-proxy", "mode ipvs is deprecated", "move to nftables or iptables before 1.40")


@check(
    "BTN707",
    "One network plugin gives pods their addresses",
    Severity.MEDIUM,
    "one network plugin was found",
    needs=("objects.daemonsets.apps",),
)
def two_cnis(c: Context) -> Iterator[Result]:
    """Two network plugins on a node (vpc-cni and Calico, Cilium or Weave) may both hand out addresses; new nodes come
    up with whichever wrote its configuration first. Calico for policy only is fine."""
    names = {nodes.name(d) for d in c.objects("daemonsets.apps")}
    others = sorted(names & {"cilium", "calico-node", "weave-net", "kube-flannel-ds"})
    if "aws-node" in names and others:
        yield bad(c.cluster, f"aws-node and {', '.join(others)} both run", "make sure that only one does IPAM")


# Who may write to an add-on's objects without it being a conflict.
ITS_OWN = ("eks", "kube-controller-manager", "kubelet", "kube-scheduler", "kube-apiserver")


@check(
    "BTN708",
    "No add-on was changed behind EKS's back",
    Severity.MEDIUM,
    "nobody but EKS wrote to the add-ons' objects",
    needs=("addons", "objects.daemonsets.apps", "objects.deployments.apps"),
)
def field_conflicts(c: Context) -> Iterator[Result]:
    """EKS applies add-ons as the field manager `eks`. Fields that someone else has written (kubectl set env on aws-node
    is the usual one) make an update fail with ConfigurationConflict under resolve conflicts NONE, are reset under
    OVERWRITE (what Terraform's module sends) and stay under PRESERVE. Put them into the add-on's configuration
    values."""
    for addon in c.snapshot.addons:
        info = c.knowledge.addon(addon.name)
        if info is None:
            continue
        kind, _, name = info.workload.partition(" ")
        for obj in c.objects(f"{kind}s.apps"):
            if nodes.name(obj) != name or obj["metadata"].get("namespace") != info.namespace:
                continue
            others = sorted(
                str(entry.get("manager"))
                for entry in obj["metadata"].get("managedFields") or ()
                if entry.get("manager") not in ITS_OWN
                and not entry.get("subresource")
                and "f:spec" in (entry.get("fieldsV1") or {})
            )
            if others:
                message = f"{info.workload} was also written by {', '.join(others)}"
                yield bad(f"add-on {addon.name}", message, "keep it in the add-on's configuration values")
