"""Kubernetes over REST: the KubeReader port. lightkube reads the kubeconfig and signs requests; objects stay JSON.

A watch runs one thread per resource: list in pages, then stream from that resourceVersion; a lost connection resumes
where it was, 410 Gone lists again and tells the difference.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import httpx2
from lightkube.config.client_adapter import Client as configured_client
from lightkube.config.client_adapter import ConnectionParams, verify_cluster
from lightkube.config.kubeconfig import KubeConfig
from lightkube.core.exceptions import ConfigError

from baton.errors import BatonError, NotServedError, ReadError, UnavailableError
from baton.model.events import WatchEvent

PAGE = 500
# The version of each group that every supported cluster serves.
VERSIONS = {
    "apps": "v1",
    "batch": "v1",
    "policy": "v1",
    "autoscaling": "v2",
    "storage.k8s.io": "v1",
    "scheduling.k8s.io": "v1",
    "coordination.k8s.io": "v1",
    "discovery.k8s.io": "v1",
    "networking.k8s.io": "v1",
    "admissionregistration.k8s.io": "v1",
    "apiregistration.k8s.io": "v1",
    "apiextensions.k8s.io": "v1",
    "metrics.k8s.io": "v1beta1",
    "karpenter.sh": "v1",
    "karpenter.k8s.aws": "v1",
    "flowcontrol.apiserver.k8s.io": "v1",
    "rbac.authorization.k8s.io": "v1",
}
Json = dict[str, Any]


def path_of(resource: str) -> str:
    """`deployments.apps` -> /apis/apps/v1/deployments. Raises ReadError for an unknown group."""
    plural, _, group = resource.partition(".")
    if not group:
        return f"/api/v1/{plural}"
    if group not in VERSIONS:
        raise ReadError(f"Baton does not know the API group of {resource}")
    return f"/apis/{group}/{VERSIONS[group]}/{plural}"


class _TokenAuth(httpx2.Auth):
    """A bearer token drawn anew when the server no longer takes the last one."""

    def __init__(self, draw: Callable[[], str]) -> None:
        self._draw = draw
        self._token = ""

    def auth_flow(self, request: httpx2.Request) -> Iterator[httpx2.Request]:  # type: ignore[override]
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
            response = yield request
            if response.status_code != 401:  # type: ignore[attr-defined]
                return
        self._token = self._draw()
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


class KubeGateway:
    """One cluster's API server. Raises ReadError and UnavailableError.

    `now`, when set, stamps watch events as they arrive (cluster time), so that a late look at them loses no order.
    """

    def __init__(self, client: httpx2.Client, where: str) -> None:
        self._client = client
        self._where = where
        self.now: Callable[[], float] = lambda: 0.0

    @classmethod
    def from_kubeconfig(cls, path: str | None = None, context: str | None = None) -> KubeGateway:
        """Through a kubeconfig file (default: $KUBECONFIG, ~/.kube/config) and one of its contexts."""
        try:
            config = KubeConfig.from_file(path) if path else KubeConfig.from_env()
            single = config.get(context_name=context)
            if single is None:
                raise ReadError(
                    f"the kubeconfig has no context {context}",
                    where=path,
                    hint="`kubectl config get-contexts` lists them",
                )
            client = configured_client(single, ConnectionParams(timeout=_TIMEOUT))
        except ReadError:
            raise
        except Exception as error:  # the client lets out whatever a broken file makes it trip over
            odd = isinstance(error, AttributeError | TypeError | KeyError)
            why = "it is not of a kubeconfig's shape" if odd else " ".join(str(error).split())
            raise ReadError(
                f"the kubeconfig cannot be used: {why}",
                where=path,
                hint="`aws eks update-kubeconfig --name CLUSTER` writes one; or leave --kubeconfig out",
            ) from error
        return cls(client, f"Kubernetes API {single.cluster.server}")

    @classmethod
    def from_cluster(cls, endpoint: str, certificate_authority: str, token: Callable[[], str]) -> KubeGateway:
        """Straight to an EKS cluster: endpoint and CA as DescribeCluster gives them, `token` as eks get-token does."""
        from lightkube.config.models import Cluster, User

        cluster = Cluster(server=endpoint, certificate_auth_data=certificate_authority or None)
        try:
            verify = verify_cluster(cluster, User(), lambda name: name, trust_env=True)
        except (ConfigError, OSError, ValueError) as error:
            raise ReadError(f"the cluster's certificate cannot be used: {error}", where=endpoint) from error
        client = httpx2.Client(base_url=endpoint, verify=verify, auth=_TokenAuth(token), timeout=_TIMEOUT)
        return cls(client, f"Kubernetes API {endpoint}")

    def close(self) -> None:
        self._client.close()

    # reading

    def get(self, path: str, **params: str) -> Json:
        """One GET, decoded. Raises ReadError or UnavailableError in Baton's words."""
        try:
            response = self._client.get(self._url(path), params=params)
        except httpx2.TransportError as error:
            raise UnavailableError(
                f"it did not answer: {error}", where=self._where, hint="is the cluster's endpoint reachable from here?"
            ) from error
        except FileNotFoundError as error:  # of the kubeconfig's exec plugin
            raise ReadError(
                f"no credentials: there is no command {error.filename}",
                where=self._where,
                hint="install what the kubeconfig's user runs for a token, or leave --kubeconfig out",
            ) from error
        except (ConfigError, OSError, ValueError) as error:
            raise ReadError(
                f"no credentials: {' '.join(str(error).split())}",
                where=self._where,
                hint="check the kubeconfig's user: what it runs for a token must answer with an ExecCredential",
            ) from error
        if response.status_code != 200:
            raise self._refusal(response.status_code, response.text)
        try:
            found: Json = response.json()
        except ValueError as error:
            raise ReadError(
                "its answer is not JSON", where=self._where, hint="is that the Kubernetes API, or a proxy before it?"
            ) from error
        return found

    def _url(self, path: str) -> str:
        # httpx joins a path that begins with / to the host, and drops the base's own path: EKS has none, others do.
        return str(self._client.base_url).rstrip("/") + path

    def _refusal(self, status: int, text: str) -> BatonError:
        try:
            message = json.loads(text).get("message", text)
        except ValueError:
            message = text[:200]
        if status == 404:
            return NotServedError(f"HTTP 404: {message}", where=self._where)
        if status in (429, 500, 502, 503, 504):
            return UnavailableError(f"HTTP {status}: {message}", where=self._where)
        hint = {
            401: "the credentials are not accepted: log in again, or check the cluster's access entries",
            403: "allow this identity to read it (AmazonEKSAdminViewPolicy is enough for Baton's reads)",
        }.get(status)
        return ReadError(f"HTTP {status}: {message}", where=self._where, hint=hint)

    def server_version(self) -> str:
        version: str = self.get("/version")["gitVersion"]
        return version

    def list(self, resource: str) -> Sequence[Mapping[str, Any]]:
        return self.list_from(resource)[0]

    def list_from(self, resource: str) -> tuple[Sequence[Json], str]:
        """Every object, read in pages, and the resourceVersion of the list."""
        path = path_of(resource)
        items = []
        more: dict[str, str] = {}
        while True:
            page = self.get(path, limit=str(PAGE), **more)
            kind = str(page.get("kind", "")).removesuffix("List")
            version = page.get("apiVersion", "")
            # Items of a list carry no kind of their own on the wire.
            items += [{"apiVersion": version, "kind": kind, **item} for item in page.get("items") or ()]
            token = page.get("metadata", {}).get("continue")
            if not token:
                return items, str(page.get("metadata", {}).get("resourceVersion", "0"))
            more = {"continue": token}

    def node_metrics(self) -> Mapping[str, Mapping[str, float]]:
        from baton.logic.quantity import parse_bytes, parse_cpu_millis

        try:
            items = self.list("nodes.metrics.k8s.io")
        except ReadError:
            return {}
        return {
            i["metadata"]["name"]: {
                "cpu": parse_cpu_millis(i["usage"]["cpu"]) / 1000,
                "memory": float(parse_bytes(i["usage"]["memory"])),
            }
            for i in items
        }

    def stream(self, resource: str, version: str) -> Iterator[Json]:
        """Watch events from `version` on, until the server ends the stream."""
        params = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true", "timeoutSeconds": "290"}
        timeout = httpx2.Timeout(10, read=300)
        with self._client.stream("GET", self._url(path_of(resource)), params=params, timeout=timeout) as response:
            if response.status_code != 200:
                raise self._refusal(response.status_code, response.read().decode(errors="replace"))
            for line in response.iter_lines():
                if line:
                    yield json.loads(line)

    def watch(self, resources: Sequence[str]) -> ThreadedWatch:
        return ThreadedWatch(self, resources)

    # writing: only for what the demo puts on its own cluster

    def create(self, resource: str, body: Mapping[str, Any]) -> None:
        """Create one object in its namespace; one that exists already is left alone."""
        namespace = body["metadata"].get("namespace")
        path = path_of(resource)
        if namespace:
            head, _, plural = path.rpartition("/")
            path = f"{head}/namespaces/{namespace}/{plural}"
        response = self._client.post(self._url(path), json=body)
        if response.status_code not in (200, 201, 409):
            raise self._refusal(response.status_code, response.text)


_TIMEOUT = httpx2.Timeout(30, connect=5)


class ThreadedWatch:
    """A KubeWatch over several resources. Failures are ridden out; a resource that is not served stays silent."""

    def __init__(self, gateway: KubeGateway, resources: Sequence[str]) -> None:
        self._gateway = gateway
        self._queue: queue.SimpleQueue[WatchEvent] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._listed = threading.Barrier(len(resources) + 1)
        for resource in resources:
            threading.Thread(target=self._run, args=(resource,), name=f"watch {resource}", daemon=True).start()
        # The first poll must hold all that exists: wait until each resource was listed once (or could not be).
        self._arrive()

    def _arrive(self) -> None:
        try:
            self._listed.wait(timeout=30)
        except threading.BrokenBarrierError:
            return

    def poll(self) -> Sequence[WatchEvent]:
        events = []
        while True:
            try:
                events.append(self._queue.get_nowait())
            except queue.Empty:
                return events

    def close(self) -> None:
        """Threads end at their next event or within the stream's timeout."""
        self._closed.set()

    def _run(self, resource: str) -> None:
        known: dict[tuple[str, str], Json] = {}
        version = ""
        first = True
        pause = 0.2
        while not self._closed.is_set():
            try:
                if not version:
                    items, version = self._gateway.list_from(resource)
                    self._difference(resource, known, items)
                if first:
                    first = False
                    self._arrive()
                version = self._follow(resource, known, version)
                pause = 0.2
            except (BatonError, httpx2.TransportError, ValueError) as error:
                if first:
                    first = False
                    self._arrive()
                if isinstance(error, BatonError) and not error.temporary:
                    version = ""
                self._closed.wait(pause)
                pause = min(pause * 2, 10.0)

    def _tell(self, kind: str, resource: str, obj: Json) -> None:
        self._queue.put(WatchEvent(kind, resource, obj, self._gateway.now()))

    def _difference(self, resource: str, known: dict[tuple[str, str], Json], items: Sequence[Json]) -> None:
        """Tell what a fresh list says beyond what is known."""
        fresh = {_key(i): i for i in items}
        for key in [k for k in known if k not in fresh]:
            self._tell("DELETED", resource, known.pop(key))
        for key, item in fresh.items():
            before = known.get(key)
            if before is None:
                self._tell("ADDED", resource, item)
            elif before["metadata"].get("resourceVersion") != item["metadata"].get("resourceVersion"):
                self._tell("MODIFIED", resource, item)
            known[key] = item

    def _follow(self, resource: str, known: dict[tuple[str, str], Json], version: str) -> str:
        """Stream until it ends; returns where to go on, "" to list again."""
        for event in self._gateway.stream(resource, version):
            if self._closed.is_set():
                return version
            kind, obj = event["type"], event["object"]
            if kind == "ERROR":  # 410 Gone and the like
                return ""
            version = obj["metadata"]["resourceVersion"]
            if kind == "BOOKMARK":
                continue
            if kind == "DELETED":
                known.pop(_key(obj), None)
            else:
                known[_key(obj)] = obj
            self._tell(kind, resource, obj)
        return version


def _key(obj: Json) -> tuple[str, str]:
    return (obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
