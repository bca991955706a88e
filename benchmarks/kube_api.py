"""Figures of the emulator's Kubernetes API, as JSON.

    python benchmarks/kube_api.py [--nodes 5000] [--pods 150000] [--watchers 50] [--changes 2000] [--requests 3000]

A synthetic cluster is served over TLS on loopback by one process and asked by another: lists of nodes and pods in the
forms clients use, small requests over kept connections, changes seen by many watchers, memory, start-up time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import resource
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def megabytes() -> float:
    """Resident memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


# --- the server


class Anybody:
    """Lets everyone in: signing is measured nowhere here."""

    def identify(self, cluster: str, bearer: str) -> Any:
        from baton.emulator.tokens import Identity

        return Identity("benchmark")


def serve(nodes: int, pods: int, pipe: Any) -> None:
    """Child process: build the cluster, serve it, carry out what the pipe says."""
    import socket

    import uvicorn

    from baton.emulator.certificates import make
    from baton.emulator.kube.app import kube_app
    from baton.ports import SystemClock
    from baton.rehearsal.generate import generate
    from baton.twin.timings import TwinSettings
    from baton.twin.twin import Twin

    empty = megabytes()
    started = time.perf_counter()
    snapshot = generate(nodes=nodes, pods=pods, seed=7)
    generated = time.perf_counter()
    twin = Twin.from_snapshot(snapshot, 7, kube_settings=TwinSettings(), history=100_000)
    kube = twin.kube(twin.cluster_name)
    loaded = time.perf_counter()
    del snapshot
    folder = Path(tempfile.mkdtemp(prefix="baton-bench-"))
    certificates = make(folder, SystemClock().now(), "127.0.0.1")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(512)
    application = kube_app(lambda name: kube if name == "bench" else None, Anybody())
    config = uvicorn.Config(
        application,
        log_level="critical",
        lifespan="off",
        access_log=False,
        ws="none",
        ssl_certfile=str(certificates.certificate),
        ssl_keyfile=str(certificates.key),
    )
    server = uvicorn.Server(config)

    async def change(count: int) -> None:
        world = kube.world
        chosen = list(world.items("pods"))[:count]
        for i, pod in enumerate(chosen):
            labels = {**(pod["metadata"].get("labels") or {}), "round": str(i)}
            world.update("pods", {**pod, "metadata": {**pod["metadata"], "labels": labels}})
            if i % 50 == 49:
                await asyncio.sleep(0)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            await asyncio.sleep(0.01)
        world = kube.world
        pipe.send(
            {
                "port": listener.getsockname()[1],
                "generate_seconds": round(generated - started, 2),
                "load_seconds": round(loaded - generated, 2),
                "nodes": world.count("nodes"),
                "pods": world.count("pods"),
                "memory_empty_mb": empty,
                "memory_loaded_mb": megabytes(),
            }
        )
        while True:
            word = await loop.run_in_executor(None, pipe.recv)
            if word == "stop":
                break
            if word == "memory":
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
                pipe.send({"memory_mb": megabytes(), "memory_peak_mb": round(peak, 1)})
            else:
                await change(word)
                pipe.send("done")
        server.should_exit = True
        await task

    asyncio.run(main())


# --- the client


class Connection:
    """One kept HTTP/1.1 connection that reads answers without parsing them."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def open(self) -> Connection:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context, limit=1 << 26)
        return self

    async def ask(self, path: str, accept: str = "application/json") -> dict[str, str]:
        """Send a GET; returns the answer's headers."""
        text = f"GET /clusters/bench{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\nAccept: {accept}\r\n\r\n"
        self.writer.write(text.encode())
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        status = int(head.split(" ", 2)[1])
        if status != 200:
            raise RuntimeError(f"{path}: {head}")
        return {k.lower(): v for k, _, v in (line.partition(": ") for line in head.split("\r\n")[1:] if line)}

    async def chunk(self) -> bytes:
        """One piece of a chunked body, b"" at its end."""
        size = int((await self.reader.readline()).strip(), 16)
        data = await self.reader.readexactly(size)
        await self.reader.readexactly(2)
        return data

    async def body(self, headers: dict[str, str], keep: bool = True) -> tuple[bytes, int]:
        """The body (nothing unless `keep`) and its size."""
        if "content-length" in headers:
            data = await self.reader.readexactly(int(headers["content-length"]))
            return data, len(data)
        parts, size = [], 0
        while data := await self.chunk():
            size += len(data)
            if keep:
                parts.append(data)
        return b"".join(parts), size

    def close(self) -> None:
        self.writer.close()


async def one_list(port: int, path: str, accept: str = "application/json") -> dict[str, Any]:
    """A whole list in one answer."""
    connection = await Connection(port).open()
    start = time.perf_counter()
    headers = await connection.ask(path, accept)
    first = time.perf_counter() - start
    _, size = await connection.body(headers, keep=False)
    seconds = time.perf_counter() - start
    connection.close()
    return {"seconds": round(seconds, 3), "first_byte_seconds": round(first, 3), "megabytes": round(size / 1e6, 1)}


async def paged(port: int, path: str, accept: str) -> dict[str, Any]:
    """A list as kubectl reads it, 500 at a time."""
    connection = await Connection(port).open()
    start = time.perf_counter()
    token, pages, items = "", 0, 0
    while True:
        headers = await connection.ask(f"{path}?limit=500" + (f"&continue={token}" if token else ""), accept)
        data, _ = await connection.body(headers)
        body = json.loads(data)
        pages += 1
        items += len(body.get("items", body.get("rows")))
        token = body["metadata"].get("continue", "")
        if not token:
            break
    seconds = time.perf_counter() - start
    connection.close()
    return {"seconds": round(seconds, 2), "pages": pages, "items": items}


async def small(port: int, path: str, count: int, connections: int) -> dict[str, Any]:
    """`count` requests over kept connections."""
    opened = [await Connection(port).open() for _ in range(connections)]
    waits: list[float] = []

    async def work(connection: Connection) -> None:
        for _ in range(count // connections):
            start = time.perf_counter()
            await connection.body(await connection.ask(path))
            waits.append(time.perf_counter() - start)

    start = time.perf_counter()
    await asyncio.gather(*(work(c) for c in opened))
    seconds = time.perf_counter() - start
    for connection in opened:
        connection.close()
    waits.sort()
    return {
        "requests_per_second": round(len(waits) / seconds),
        "p50_ms": round(waits[len(waits) // 2] * 1000, 2),
        "p99_ms": round(waits[int(len(waits) * 0.99)] * 1000, 2),
        "connections": connections,
    }


async def fan_out(port: int, pipe: Any, watchers: int, changes: int) -> dict[str, Any]:
    """Changes of pods until the last of many watchers has seen the last of them."""
    version = ""
    opened = []
    for _ in range(watchers):
        connection = await Connection(port).open()
        if not version:
            headers = await connection.ask("/api/v1/pods?limit=1")
            version = json.loads((await connection.body(headers))[0])["metadata"]["resourceVersion"]
        await connection.ask(f"/api/v1/pods?watch=1&resourceVersion={version}")
        opened.append(connection)

    async def read(connection: Connection) -> int:
        seen = size = 0
        while seen < changes:
            data = await connection.chunk()
            seen += data.count(b"\n")
            size += len(data)
        return size

    loop = asyncio.get_running_loop()
    start = time.perf_counter()
    pipe.send(changes)
    done = loop.run_in_executor(None, pipe.recv)
    sizes = await asyncio.gather(*(read(c) for c in opened))
    seconds = time.perf_counter() - start
    await done
    for connection in opened:
        connection.close()
    return {
        "watchers": watchers,
        "changes": changes,
        "seconds": round(seconds, 2),
        "events_per_second": round(watchers * changes / seconds),
        "megabytes": round(sum(sizes) / 1e6, 1),
    }


def start_up() -> dict[str, Any]:
    """From the start of `baton emulator` to its announcement, the best of three."""
    best = float("inf")
    command = [sys.executable, "-c", "from baton.cli.main import main; import sys; sys.exit(main(['emulator']))"]
    for _ in range(3):
        start = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            process.stdout.readline()
            best = min(best, time.perf_counter() - start)
            process.terminate()
    return {"seconds": round(best, 2)}


async def measure(arguments: argparse.Namespace, pipe: Any, note: Callable[[str], None]) -> dict[str, Any]:
    found: dict[str, Any] = {"cluster": pipe.recv()}
    port = found["cluster"].pop("port")
    note("cluster loaded")
    found["list_nodes"] = await one_list(port, "/api/v1/nodes")
    found["list_nodes_table"] = await one_list(port, "/api/v1/nodes", TABLE)
    found["list_pods"] = await one_list(port, "/api/v1/pods")
    found["list_pods_table"] = await one_list(port, "/api/v1/pods", TABLE)
    note("whole lists")
    found["list_pods_pages"] = await paged(port, "/api/v1/pods", "application/json")
    found["list_pods_table_pages"] = await paged(port, "/api/v1/pods", TABLE)
    note("paged lists")
    connection = await Connection(port).open()
    headers = await connection.ask("/api/v1/nodes?limit=1")
    node = json.loads((await connection.body(headers))[0])["items"][0]["metadata"]["name"]
    connection.close()
    found["get_node"] = await small(port, f"/api/v1/nodes/{node}", arguments.requests, 8)
    found["pods_of_node"] = await small(port, f"/api/v1/pods?fieldSelector=spec.nodeName%3D{node}", 800, 8)
    note("small requests")
    found["watch_fan_out"] = await fan_out(port, pipe, arguments.watchers, arguments.changes)
    pipe.send("memory")
    found["memory"] = pipe.recv()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name, default in (("nodes", 5000), ("pods", 150_000), ("watchers", 50), ("changes", 2000), ("requests", 3000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    pipe, other = context.Pipe()
    server = context.Process(target=serve, args=(arguments.nodes, arguments.pods, other), daemon=True)
    server.start()
    found = asyncio.run(measure(arguments, pipe, lambda text: print(text, file=sys.stderr)))
    pipe.send("stop")
    server.join(10)
    with suppress(OSError):
        found["start_up"] = start_up()
    found["machine"] = {"python": platform.python_version(), "cores": os.cpu_count()}
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
