"""The Kubernetes API without a network: requests go straight into the application, time stands still until told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import quote, urlencode

from baton.emulator.kube.app import kube_app
from baton.emulator.tokens import Identity
from baton.twin.clock import VirtualClock
from baton.twin.kube import KubeTwin, NodeSpec
from baton.twin.timings import TwinSettings
from baton.twin.world import World

START = 1_790_000_000.0
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
Json = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw)

    @property
    def message(self) -> str:
        return str(self.body["message"])

    @property
    def lines(self) -> list[Json]:
        """The events of a watch."""
        return [json.loads(line) for line in self.raw.splitlines()]


class Anybody:
    """Tokens: everyone who has one is let in."""

    def identify(self, cluster: str, bearer: str) -> Identity | None:
        return Identity("tester", ("system:masters",)) if bearer == "good" else None


class Api:
    """A cluster called demo with `nodes` Ready nodes over three zones, and its API."""

    def __init__(self, nodes: int = 3, seed: int = 1, history: int = 100_000) -> None:
        self.clock = VirtualClock(START)
        self.world = World(self.clock, Random(seed), history=history)
        self.twin = KubeTwin(self.clock, self.world, TwinSettings(), Random(seed + 1))
        self.twin.bootstrap()
        self.twin.start()
        self.app = kube_app(lambda name: self.twin if name == "demo" else None, Anybody())
        for i in range(nodes):
            self.twin.boot_node(
                NodeSpec(
                    f"node-{i}",
                    f"i-{i:017x}",
                    "us-east-1" + "abc"[i % 3],
                    "us-east-1",
                    "m6i.xlarge",
                    "ami-1",
                    "v1.34.2-eks-1",
                    internal_ip=f"10.0.{i % 3}.{i + 4}",
                    allocatable={"cpu": "4", "memory": "16Gi", "pods": "58"},
                )
            )
        self.wait(30 if nodes else 0)

    def wait(self, seconds: float) -> None:
        self.clock.run_until(self.clock.now() + seconds)

    # --- requests

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        kind: str = "application/json",
        accept: str = "application/json",
        token: str = "good",
        headers: Mapping[str, str] | None = None,
        during: Callable[[], Awaitable[None]] | None = None,
        **query: Any,
    ) -> Answer:
        """One request; `body` as JSON unless it is bytes. `during` runs beside a watch and ends it when it returns."""
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        pairs = {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in query.items()}
        given = {"accept": accept, "content-type": kind, "authorization": f"Bearer {token}", **(headers or {})}
        scope = {
            "type": "http",
            "method": method,
            "path": path if path.startswith("//") else f"/clusters/demo{path}",
            "query_string": urlencode(pairs, quote_via=quote).encode(),
            "headers": [(k.encode(), v.encode()) for k, v in given.items() if v],
        }
        return asyncio.run(self._ask(scope, raw, during))

    async def _ask(self, scope: Json, raw: bytes, during: Callable[[], Awaitable[None]] | None) -> Answer:
        sent: list[Json] = []
        ended = asyncio.Event()
        given = False

        async def receive() -> Json:
            nonlocal given
            if not given:
                given = True
                return {"type": "http.request", "body": raw, "more_body": False}
            await ended.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        async def beside() -> None:
            if during is not None:
                await during()
                await asyncio.sleep(0)
                ended.set()

        await asyncio.gather(self.app(scope, receive, send), beside())
        start = next(m for m in sent if m["type"] == "http.response.start")
        raw_body = b"".join(m.get("body", b"") for m in sent if m["type"] == "http.response.body")
        headers = {k.decode(): v.decode() for k, v in start["headers"]}
        return Answer(start["status"], headers, raw_body)

    def get(self, path: str, **more: Any) -> Answer:
        return self.ask("GET", path, **more)

    def watch(self, path: str, *steps: Callable[[], Any], **query: Any) -> list[Json]:
        """The events of a watch during which `steps` were carried out one after the other."""

        async def during() -> None:
            for step in (lambda: None, *steps):
                step()
                for _ in range(12):
                    await asyncio.sleep(0)

        answer = self.ask("GET", path, during=during, watch=1, **query)
        assert answer.status == 200, answer.raw
        return answer.lines

    def create(self, path: str, body: Json, status: int = 201, **query: Any) -> Json:
        answer = self.ask("POST", path, body, **query)
        assert answer.status == status, answer.raw
        return dict(answer.body)

    def patch(self, path: str, body: Any, kind: str = "merge-patch+json", status: int = 200, **query: Any) -> Json:
        answer = self.ask("PATCH", path, body, kind=f"application/{kind}", **query)
        assert answer.status == status, answer.raw
        return dict(answer.body)

    def table(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """Rows of the server's table, column -> cell."""
        body = self.get(path, accept=TABLE, **query).body
        assert body["kind"] == "Table"
        names = [c["name"] for c in body["columnDefinitions"]]
        return [dict(zip(names, row["cells"], strict=True)) for row in body["rows"]]


PODS = "/api/v1/namespaces/default/pods"
MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"


def config_map(name: str, **labels: str) -> Json:
    return {"metadata": {"name": name, "labels": labels}, "data": {"a": "1"}}


def pod(name: str, **labels: str) -> Json:
    return {"metadata": {"name": name, "labels": labels}, "spec": {"containers": [{"name": "main", "image": "x:1"}]}}


def deployment(name: str, replicas: int = 3, **spec: Any) -> Json:
    return {
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": f"{name}:1"}]},
            },
            **spec,
        },
    }


def budget(name: str, **spec: Any) -> Json:
    return {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"app": name}}, **spec}}
