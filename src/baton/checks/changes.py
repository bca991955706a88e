"""What changes its behaviour with a version: each check is asked only when the path crosses it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from baton.checks.context import Context, full_name
from baton.checks.registry import Result, bad, check
from baton.model import nodes
from baton.model.cluster import KubeObject
from baton.model.findings import Severity

TEMPLATES = ("deployments.apps", "statefulsets.apps", "daemonsets.apps")
NEEDS_TEMPLATES = tuple(f"objects.{name}" for name in TEMPLATES)


def _templates(c: Context) -> Iterator[tuple[str, KubeObject]]:
    """(subject, pod template) of every workload."""
    for resource in TEMPLATES:
        for obj in c.objects(resource):
            yield f"{resource.partition('.')[0][:-1]} {full_name(obj)}", obj.get("spec", {}).get("template") or {}


@check(
    "BTN911",
    "No workload uses gitRepo volumes",
    Severity.BLOCK,
    "no workload uses a gitRepo volume",
    needs=NEEDS_TEMPLATES,
    since="1.36",
    until="1.36",
    also=("AWS upgrade skill",),
)
def git_repo(c: Context) -> Iterator[Result]:
    """Kubelets from 1.36 on refuse pods with gitRepo volumes. Clone in an init container into an emptyDir instead."""
    for subject, template in _templates(c):
        if any(v.get("gitRepo") is not None for v in template.get("spec", {}).get("volumes") or ()):
            yield bad(subject, "has a gitRepo volume: a 1.36 kubelet does not start it", "clone in an init container")


@check(
    "BTN912",
    "No service uses externalIPs",
    Severity.LOW,
    "no service uses externalIPs",
    needs=("objects.services",),
    since="1.36",
)
def external_ips(c: Context) -> Iterator[Result]:
    """Service externalIPs are deprecated from 1.36 on; kube-proxy will stop serving them."""
    for service in c.objects("services"):
        if service.get("spec", {}).get("externalIPs"):
            yield bad(f"service {full_name(service)}", "uses externalIPs, deprecated", "use a load balancer")


def sloppy(addresses: Iterable[str]) -> list[str]:
    """Addresses and CIDRs that are not written canonically: leading zeros, host bits, IPv4 in IPv6."""
    found = []
    for text in addresses:
        try:
            if "/" in text:
                ipaddress.ip_network(text, strict=True)
            elif getattr(ipaddress.ip_address(text), "ipv4_mapped", None) is not None:
                found.append(text)
        except ValueError:
            found.append(text)
    return found


@check(
    "BTN913",
    "Addresses are written canonically",
    Severity.LOW,
    "every address and range is written canonically",
    needs=("objects.services",),
    since="1.36",
)
def addresses(c: Context) -> Iterator[Result]:
    """1.36 is stricter about addresses: 010.0.0.1 and 10.0.0.1/8 are refused in objects that are written from then
    on."""
    for service in c.objects("services"):
        spec = service.get("spec", {})
        wrong = sloppy([*(spec.get("externalIPs") or ()), *(spec.get("loadBalancerSourceRanges") or ())])
        if wrong:
            yield bad(
                f"service {full_name(service)}", f"names {', '.join(wrong)}", "write the address or range in full"
            )


APPARMOR = "container.apparmor.security.beta.kubernetes.io/"


@check(
    "BTN914",
    "AppArmor is set by field, not by annotation",
    Severity.LOW,
    "no workload sets AppArmor by annotation",
    needs=NEEDS_TEMPLATES,
    since="1.34",
    also=("AWS upgrade skill",),
)
def apparmor(c: Context) -> Iterator[Result]:
    """AppArmor's annotations are deprecated; securityContext.appArmorProfile took their place in 1.30."""
    for subject, template in _templates(c):
        if any(key.startswith(APPARMOR) for key in (template.get("metadata") or {}).get("annotations") or {}):
            yield bad(subject, "sets AppArmor by annotation", "use securityContext.appArmorProfile")


@check(
    "BTN915",
    "Nothing is granted to anonymous users",
    Severity.MEDIUM,
    "nothing of its own is granted to anonymous users",
    needs=("objects.clusterrolebindings.rbac.authorization.k8s.io",),
    since="1.32",
    until="1.32",
    also=("AWS upgrade skill",),
)
def anonymous(c: Context) -> Iterator[Result]:
    """From 1.32 on EKS takes anonymous requests on its health endpoints only: whoever relied on such a binding is
    refused."""
    for binding in c.objects("clusterrolebindings.rbac.authorization.k8s.io"):
        names = {s.get("name") for s in binding.get("subjects") or ()}
        if (
            names & {"system:anonymous", "system:unauthenticated"}
            and nodes.name(binding) != "system:public-info-viewer"
        ):
            yield bad(f"cluster role binding {nodes.name(binding)}", "grants to anonymous users", "use a real identity")


@check(
    "BTN916",
    "No workload mounts the Docker socket",
    Severity.MEDIUM,
    "no workload mounts the Docker socket",
    needs=NEEDS_TEMPLATES,
    also=("eksup K8S008",),
)
def docker_socket(c: Context) -> Iterator[Result]:
    """There has been no Docker on EKS nodes since 1.24: the mount is empty, or made as a directory."""
    for subject, template in _templates(c):
        paths = {(v.get("hostPath") or {}).get("path", "") for v in template.get("spec", {}).get("volumes") or ()}
        if any(p.endswith("docker.sock") for p in paths):
            yield bad(subject, "mounts docker.sock, which no node has", "use the containerd socket, or none")
