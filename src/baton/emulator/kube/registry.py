"""Which kinds the API serves: names, scopes, short names, subresources. Discovery and routing read it."""

from __future__ import annotations

from dataclasses import dataclass

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
READ = ("get", "list")


@dataclass(frozen=True, slots=True)
class Kind:
    """`resource` is the key in the world: plural, plus .group unless core."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    short: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = VERBS

    @property
    def resource(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        return self.kind.lower()


ALL = ("all",)
_SCALE = ("scale", "status")
_S = ("status",)

KINDS = (
    Kind("", "v1", "Node", "nodes", False, ("no",), _S),
    Kind("", "v1", "Pod", "pods", True, ("po",), ("binding", "eviction", "log", "status"), ALL),
    Kind("", "v1", "Service", "services", True, ("svc",), _S, ALL),
    Kind("", "v1", "Endpoints", "endpoints", True, ("ep",)),
    Kind("", "v1", "ConfigMap", "configmaps", True, ("cm",)),
    Kind("", "v1", "Secret", "secrets", True),
    Kind("", "v1", "ServiceAccount", "serviceaccounts", True, ("sa",)),
    Kind("", "v1", "Namespace", "namespaces", False, ("ns",), _S),
    Kind("", "v1", "Event", "events", True, ("ev",)),
    Kind("", "v1", "PersistentVolume", "persistentvolumes", False, ("pv",), _S),
    Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", True, ("pvc",), _S),
    Kind("", "v1", "ReplicationController", "replicationcontrollers", True, ("rc",), _SCALE, ALL),
    Kind("", "v1", "LimitRange", "limitranges", True, ("limits",)),
    Kind("", "v1", "ResourceQuota", "resourcequotas", True, ("quota",), _S),
    Kind("apps", "v1", "Deployment", "deployments", True, ("deploy",), _SCALE, ALL),
    Kind("apps", "v1", "ReplicaSet", "replicasets", True, ("rs",), _SCALE, ALL),
    Kind("apps", "v1", "StatefulSet", "statefulsets", True, ("sts",), _SCALE, ALL),
    Kind("apps", "v1", "DaemonSet", "daemonsets", True, ("ds",), _S, ALL),
    Kind("apps", "v1", "ControllerRevision", "controllerrevisions", True),
    Kind("batch", "v1", "Job", "jobs", True, (), _S, ALL),
    Kind("batch", "v1", "CronJob", "cronjobs", True, ("cj",), _S, ALL),
    Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", True, ("pdb",), _S),
    Kind("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", True, ("hpa",), _S, ALL),
    Kind("coordination.k8s.io", "v1", "Lease", "leases", True),
    Kind("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", False, ("pc",)),
    Kind("storage.k8s.io", "v1", "StorageClass", "storageclasses", False, ("sc",)),
    Kind("storage.k8s.io", "v1", "CSINode", "csinodes", False),
    Kind("storage.k8s.io", "v1", "CSIDriver", "csidrivers", False),
    Kind("storage.k8s.io", "v1", "VolumeAttachment", "volumeattachments", False, (), _S),
    Kind("rbac.authorization.k8s.io", "v1", "Role", "roles", True),
    Kind("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings", True),
    Kind("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", False),
    Kind("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", False),
    Kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", True),
    Kind("networking.k8s.io", "v1", "Ingress", "ingresses", True, ("ing",), _S),
    Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", True, ("netpol",)),
    Kind("networking.k8s.io", "v1", "IngressClass", "ingressclasses", False),
    Kind("admissionregistration.k8s.io", "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", False),
    Kind(
        "admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", False
    ),
    Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", False, ("crd",), _S),
    Kind("apiregistration.k8s.io", "v1", "APIService", "apiservices", False, (), _S),
    Kind("metrics.k8s.io", "v1beta1", "NodeMetrics", "nodes", False, verbs=READ),
    Kind("metrics.k8s.io", "v1beta1", "PodMetrics", "pods", True, verbs=READ),
)

BY_PATH = {(k.group, k.version, k.plural): k for k in KINDS}
BY_RESOURCE = {k.resource: k for k in KINDS}
GROUPS = sorted({k.group for k in KINDS if k.group})
# Served without objects of their own: reviews that kubectl asks before and after the act.
REVIEWS = ("selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews")
