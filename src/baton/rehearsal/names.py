"""New names for old ones, the same for the same: `Names` is asked wherever a name, label, image or id stands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from baton.knowledge.ami import parse_image
from baton.twin.addons import manifests

Json = dict[str, Any]
NAMESPACES = frozenset({"default", "kube-system", "kube-public", "kube-node-lease"})
SYSTEM = "kube-system"
_ADDONS = (
    "vpc-cni",
    "kube-proxy",
    "coredns",
    "aws-ebs-csi-driver",
    "eks-pod-identity-agent",
    "metrics-server",
)
_PUBLIC_DOMAINS = ("kubernetes.io", "k8s.io", "amazonaws.com", "aws", "karpenter.sh", "nvidia.com", "istio.io")
_PUBLIC_LABELS = frozenset(
    {
        *("app", "name", "component", "tier", "role", "version", "release", "k8s-app", "job-name"),
        *("pod-template-hash", "controller-revision-hash", "pod-template-generation", "controller-uid"),
        *("cpu", "memory", "pods", "ephemeral-storage"),
    }
)
# Values that say nothing of who runs the cluster.
_PLAIN = re.compile(r"^(true|false|\d{1,6}|linux|windows|amd64|arm64|ON_DEMAND|SPOT|on-demand|spot|)$")
_KEPT_VALUES_OF = frozenset(
    {
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "topology.ebs.csi.aws.com/zone",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
        "node.kubernetes.io/instance-type",
        "beta.kubernetes.io/instance-type",
        "kubernetes.io/arch",
        "kubernetes.io/os",
        "eks.amazonaws.com/capacityType",
        "eks.amazonaws.com/compute-type",
        "pod-template-hash",
        "apps.kubernetes.io/pod-index",
        "pod-template-generation",
    }
)
_ACCOUNT = re.compile(r"(?<!\d)\d{12}(?!\d)")
_IDS = re.compile(r"\b(i|ami|subnet|sg|lt|vol|vpc|eni)-[0-9a-zA-Z]{3,}\b")


def _addon_names() -> tuple[frozenset[str], frozenset[str]]:
    """Names of the objects that EKS add-ons install, and their label values: they are everybody's."""
    names: set[str] = set()
    values: set[str] = set()
    for addon in _ADDONS:
        for _, obj in manifests(addon, "v1.0.0"):
            names.add(obj["metadata"]["name"])
            values.update((obj["metadata"].get("labels") or {}).values())
            template = obj["spec"].get("template") or {}
            values.update((template.get("metadata", {}).get("labels") or {}).values())
    return frozenset(names), frozenset(values)


ADDON_NAMES, ADDON_VALUES = _addon_names()


class Names:
    """Hands out names in the order in which they are asked for. The same snapshot gives the same names."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], str] = {}
        self._counts: dict[str, int] = {}

    def _new(self, kind: str, old: str, pattern: str) -> str:
        found = self._known.get((kind, old))
        if found is None:
            self._counts[kind] = number = self._counts.get(kind, 0) + 1
            found = self._known[kind, old] = pattern.format(number)
        return found

    # --- Kubernetes

    def namespace(self, old: str | None) -> str | None:
        return old if not old or old in NAMESPACES else self._new("namespace", old, "ns-{:03d}")

    def named(self, namespace: str | None, old: str) -> str:
        """An object's name; those of EKS add-ons stay."""
        if namespace == SYSTEM and old in ADDON_NAMES:
            return old
        if old in ("system-node-critical", "system-cluster-critical", "kubernetes"):
            return old
        return self._new("name", f"{namespace}/{old}", "app-{:05d}")

    def derived(self, namespace: str | None, old: str, owner: str, new_owner: str) -> str:
        """A name that begins with its owner's: `cart-7c9d-x2x4z` of `cart-7c9d` keeps its ending."""
        if old.startswith(owner + "-"):
            made = new_owner + old[len(owner) :]
            self._known["name", f"{namespace}/{old}"] = made
            return made
        return self.named(namespace, old)

    def node(self, old: str) -> str:
        """Shaped like EC2's private DNS names."""
        found = self._known.get(("node", old))
        if found is None:
            number = self._counts["node"] = self._counts.get("node", 0) + 1
            tail = old.partition(".")[2]
            region = (
                tail if re.fullmatch(r"ec2\.internal|[a-z]{2}(-[a-z]+)+-\d\.compute\.internal", tail) else "internal"
            )
            address = f"100.{64 + number // 62_500}.{number // 250 % 250}.{number % 250 + 4}"
            self._known["address", old] = address
            found = self._known["node", old] = f"ip-{address.replace('.', '-')}.{region}"
        return found

    def address(self, node: str) -> str:
        """The address that goes with a node's new name."""
        self.node(node)
        return self._known["address", node]

    def uid(self, old: str) -> str:
        return self._new("uid", old, "00000000-0000-4000-8000-{:012d}")

    # --- labels

    def key(self, old: str) -> str:
        """A label, taint or resource key: well-known ones and plain words that everybody uses stay."""
        domain, slash, word = old.rpartition("/")
        if not slash:
            public = old in _PUBLIC_LABELS or old.startswith("hugepages-")
            return old if public else self._new("key", old, "label-{:03d}")
        if any(domain == d or domain.endswith("." + d) for d in _PUBLIC_DOMAINS):
            return old
        return f"{self._new('domain', domain, 'example-{:02d}.com')}/{self._new('word', word, 'label-{:03d}')}"

    def value(self, key: str, old: str) -> str:
        """A label's value; the same value gets the same name under every key, so that selectors still match."""
        if key == "eks.amazonaws.com/nodegroup":
            return self.group(old)
        if key == "kubernetes.io/hostname" or key == "metadata.name":
            return self.node(old)
        if key == "kubernetes.io/metadata.name":
            return self.namespace(old) or ""
        if key in ("eks.amazonaws.com/nodegroup-image", "eks.amazonaws.com/sourceLaunchTemplateId"):
            return self.ids(old)
        if key == "statefulset.kubernetes.io/pod-name":
            return self._known.get(("pod", old), self._new("value", old, "v-{:05d}"))
        if key in _KEPT_VALUES_OF or old in ADDON_VALUES or _PLAIN.match(old):
            return old
        return self._new("value", old, "v-{:05d}")

    def pod(self, old: str, new: str) -> None:
        """Remember a pod's new name for the label that repeats it."""
        self._known["pod", old] = new

    def labels(self, old: Mapping[str, Any] | None) -> Json:
        return {self.key(k): self.value(k, str(v)) for k, v in (old or {}).items()}

    # --- AWS

    def group(self, old: str) -> str:
        return self._new("group", old, "group-{:02d}")

    def cluster(self, old: str) -> str:
        return self._new("cluster", old, "cluster-{:d}")

    def ids(self, old: str) -> str:
        """EC2 ids, by their kind."""
        kind = _IDS.match(old)
        if kind is None:
            return self._new("id", old, "id-{:05d}") if old else old
        return self._new(f"id {kind[1]}", old, kind[1] + "-{:017x}")

    def text(self, old: str) -> str:
        """Account numbers and EC2 ids inside a longer text."""
        found = _ACCOUNT.sub(lambda m: self.account(m[0]), old)
        return _IDS.sub(lambda m: self.ids(m[0]), found)

    def account(self, old: str) -> str:
        """AWS's own accounts stay."""
        public = {"602401143452", "801119661308", "099720109477", "092701018921", "123456789012"}
        return old if old in public or not _ACCOUNT.fullmatch(old) else self._new("account", old, "1111{:08d}")

    def container_image(self, old: str) -> str:
        """EKS's own images stay, others become numbers; what two pods share they still share."""
        if not old or re.match(r"602401143452\.dkr\.ecr\.|public\.ecr\.aws/eks|registry\.k8s\.io/", old):
            return old
        return self._new("image", old, "registry.example.com/image-{:05d}:1")

    def ami_name(self, old: str) -> str:
        """A name that still tells the Kubernetes version, and is still of one family with those it resembled."""
        facts = parse_image(old)
        if facts.optimised:
            return old
        family = self._new("ami family", re.sub(r"\d+([._-]\d+)*", "#", old), "image-{:02d}")
        dates = re.findall(r"\d{8}", old)
        if facts.kubernetes is None:
            return self._new("ami", old, family + "-{:03d}")
        return f"{family}-eks-{facts.kubernetes}-v{dates[-1] if dates else 1}"
