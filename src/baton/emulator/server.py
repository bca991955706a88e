"""Runs the emulator: two servers on loopback in one event loop, and the paced clock.

serve(options, announce)    in the foreground, until SIGINT or SIGTERM
start_in_thread(…)          for tests and the demo; Running.stop() ends it
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import uvicorn

from baton.emulator.assembly import Emulator, Options
from baton.emulator.certificates import Certificates
from baton.emulator.certificates import make as make_certificates
from baton.emulator.moto_side import Ask, warm_up
from baton.emulator.state import Entry, StateFile
from baton.errors import BatonError, UnavailableError
from baton.ports import SystemClock

__all__ = ["Options", "Running", "announcement", "serve", "start_in_thread"]

TICK = 0.05  # seconds of wall time between looks at the clock
_KEPT_HEADERS = ("authorization", "content-type", "x-amz-target", "accept", "host")


class _Server(uvicorn.Server):  # type: ignore[misc]
    """uvicorn without its own signal handling: one place deals with signals for both servers."""

    def capture_signals(self) -> Any:
        return contextlib.nullcontext()


class Session:
    """An emulator with its sockets, folder and state file, from the first bind to the last byte."""

    def __init__(self, options: Options) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="baton-emulator-"))
        self._sockets: list[socket.socket] = []
        self._state = None if options.state is None else StateFile(options.state)
        try:
            self._begin(options)
        except BaseException:
            self.close()
            raise

    def _begin(self, options: Options) -> None:
        header = self._state.header() if self._state else None
        if header is not None:
            options = _from_header(options, header)
        known = header or {}
        self._sockets = [
            _listen(options.host, options.port, int(known.get("port", 0))),
            _listen(options.host, 0, int(known.get("kubePort", 0))),
        ]
        ports = [int(s.getsockname()[1]) for s in self._sockets]
        certificates = _certificates(self.folder, options.host, known)
        self.emulator = Emulator(options, certificates, self.folder)
        self.emulator.bound(*ports)
        if self._state is not None:
            if header is None:
                self._state.create(_header(self.emulator, ports))
            self._pending = list(self._state.entries())
        else:
            self._pending = []

    async def restore(self) -> None:
        """Carry out what the state file holds, then record what follows."""
        emulator = self.emulator
        for entry in self._pending:
            emulator.clock.run_until(entry.at)
            await _again(emulator, entry)
        self._pending = []
        if self._state is not None:
            state, now = self._state, emulator.clock.now
            emulator.aws.record = lambda ask: state.append(now(), "aws", _ask_json(ask))
            emulator.kube.record = lambda *request: state.append(now(), "kube", _kube_json(*request))
        emulator.begin()

    async def run(self, ready: Callable[[], None]) -> None:
        """Serve until cancelled."""
        await self.restore()
        emulator = self.emulator
        common: dict[str, Any] = {
            "log_level": "critical",
            "lifespan": "off",
            "access_log": False,
            "timeout_keep_alive": 75,
            "timeout_graceful_shutdown": 2,
            "ws": "none",
            "h11_max_incomplete_event_size": 256 * 1024,
        }
        tls = {
            "ssl_certfile": str(emulator.certificates.certificate),
            "ssl_keyfile": str(emulator.certificates.key),
        }
        servers = [
            _Server(uvicorn.Config(emulator.aws, **common)),
            _Server(uvicorn.Config(emulator.kube, **common, **tls)),
        ]
        tasks = [
            asyncio.create_task(server.serve(sockets=[where]))
            for server, where in zip(servers, self._sockets, strict=True)
        ]
        tasks.append(asyncio.create_task(self._pace()))
        try:
            while not all(server.started for server in servers):
                await asyncio.sleep(0.005)
                for task in tasks:
                    if task.done():
                        task.result()
            ready()
            threading.Thread(target=warm_up, daemon=True).start()
            await asyncio.gather(*tasks)
        except asyncio.CancelledError:
            for server in servers:
                server.should_exit = server.force_exit = True
            tasks[-1].cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pace(self) -> None:
        clock = self.emulator.clock
        while True:
            clock.catch_up()
            delay = clock.wall_delay()
            await asyncio.sleep(TICK if delay is None else min(max(delay, 0.002), TICK))

    def close(self) -> None:
        for each in self._sockets:
            each.close()
        emulator = getattr(self, "emulator", None)
        if emulator is not None:
            if self._state is not None and not self._pending:
                self._state.close(emulator.clock.now())
            emulator.moto.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _listen(host: str, port: int, wished: int = 0) -> socket.socket:
    """A listening socket; with port 0 the `wished` one when it is free."""
    for number in [port] if port else [wished, 0]:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # asyncio sets TCP_NODELAY only where the protocol is named; without it every answer waits 40 ms
        found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host, number))
            found.listen(512)
        except (OSError, OverflowError) as error:
            found.close()
            if not port and number:
                continue
            reason = getattr(error, "strerror", None) or str(error)
            raise UnavailableError(
                f"cannot listen: {reason}", where=f"{host}:{number}", hint="choose another --port, or 0 for a free one"
            ) from error
        return found
    raise UnavailableError("cannot listen", where=host)


# --- state across restarts ----------------------------------------------------------------------------------------


def _certificates(folder: Path, host: str, known: dict[str, Any]) -> Certificates:
    """Those of the state file, else new ones."""
    if "certificate" not in known:
        return make_certificates(folder, SystemClock().now(), host)
    certificate, key = folder / "apiserver.crt", folder / "apiserver.key"
    certificate.write_text(known["certificate"])
    key.touch(mode=0o600)
    key.write_text(known["key"])
    return Certificates(str(known["authority"]), certificate, key)


def _header(emulator: Emulator, ports: list[int]) -> dict[str, Any]:
    options, certificates = emulator.options, emulator.certificates
    return {
        "seed": options.seed,
        "region": options.region,
        "start": emulator.clock.now(),
        "port": ports[0],
        "kubePort": ports[1],
        "authority": certificates.authority,
        "certificate": certificates.certificate.read_text(),
        "key": certificates.key.read_text(),
    }


def _from_header(options: Options, header: dict[str, Any]) -> Options:
    """What the state was made with wins over the command line; speed, faults and address may change."""
    given = {f.name: getattr(options, f.name) for f in fields(options)}
    return Options(**{**given, "seed": header["seed"], "region": header["region"], "start": header["start"]})


def _ask_json(ask: Ask) -> dict[str, Any]:
    return {
        "service": ask.service,
        "region": ask.region,
        "method": ask.method,
        "path": ask.path,
        "query": ask.query,
        "headers": {k: v for k, v in ask.headers.items() if k in _KEPT_HEADERS},
        "body": base64.b64encode(ask.body).decode(),
    }


def _kube_json(method: str, path: str, query: str, headers: dict[str, str], body: bytes) -> dict[str, Any]:
    kept = {k: v for k, v in headers.items() if k != "authorization"}
    text = base64.b64encode(body).decode()
    return {"method": method, "path": path, "query": query, "headers": kept, "body": text}


async def _again(emulator: Emulator, entry: Entry) -> None:
    """Carry out a recorded request once more. Kubernetes writes were let in then, so they come as the admin now."""
    request = dict(entry.request)
    if entry.side == "aws":
        emulator.aws.answer(Ask(**{**request, "body": base64.b64decode(request["body"])}))
    elif entry.side == "kube":
        headers = {**request["headers"], "authorization": f"Bearer {emulator.admin_token}"}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "https",
            "method": request["method"],
            "path": request["path"],
            "raw_path": request["path"].encode(),
            "query_string": request["query"].encode(),
            "root_path": "",
            "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
            "server": ("127.0.0.1", 0),
            "client": ("127.0.0.1", 0),
        }
        body = base64.b64decode(request["body"])
        given = False

        async def receive() -> dict[str, Any]:
            nonlocal given
            if given:
                return {"type": "http.disconnect"}
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            return None

        await emulator.kube.replay(scope, receive, send)


# --- in a thread, in the foreground -------------------------------------------------------------------------------


@dataclass
class Running:
    """An emulator in a thread of this process."""

    emulator: Emulator
    _session: Session
    _loop: asyncio.AbstractEventLoop
    _task: asyncio.Task[None]
    _thread: threading.Thread

    @property
    def endpoint(self) -> str:
        return self.emulator.endpoint

    @property
    def kubeconfig(self) -> Path:
        return self.emulator.kubeconfig

    @property
    def environment(self) -> dict[str, str]:
        return self.emulator.environment()

    def call(self, fn: Callable[[], Any]) -> Any:
        """Run `fn` in the emulator's thread, between requests; returns its result."""

        async def inside() -> Any:
            self.emulator.clock.catch_up()
            return fn()

        return asyncio.run_coroutine_threadsafe(inside(), self._loop).result(60)

    def stop(self) -> None:
        """End it; returns when its ports are closed. A second call does nothing."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)
            self._thread.join(timeout=20)


def start_in_thread(options: Options | None = None, **changes: Any) -> Running:
    """Start an emulator and return once it answers: `start_in_thread(speed=600, seed=7)`.

    Raises UsageError for options that do not fit, UnavailableError when it cannot listen.
    """
    session = Session(options or Options(**changes))
    ready = threading.Event()
    made: dict[str, Any] = {}

    def main() -> None:
        async def body() -> None:
            made["loop"] = asyncio.get_running_loop()
            made["task"] = asyncio.current_task()
            await session.run(ready.set)

        try:
            asyncio.run(body())
        except BaseException as error:  # told to the thread that waits
            made["error"] = error
        finally:
            session.close()
            ready.set()

    thread = threading.Thread(target=main, name="baton emulator", daemon=True)
    thread.start()
    ready.wait()
    if "error" in made:
        if isinstance(made["error"], BatonError):
            raise made["error"]
        raise UnavailableError(f"the emulator did not start: {made['error']}") from made["error"]
    return Running(session.emulator, session, made["loop"], made["task"], thread)


def serve(options: Options, announce: Callable[[Emulator], None]) -> None:
    """Run until SIGINT or SIGTERM; `announce` is called once it answers. Raises as start_in_thread."""
    session = Session(options)

    async def body() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        await session.run(lambda: announce(session.emulator))

    try:
        asyncio.run(body())
    finally:
        session.close()


def announcement(emulator: Emulator) -> dict[str, Any]:
    """What `baton emulator` prints as one line of JSON, and keeps for `baton emulator env`."""
    return {
        "endpoint": emulator.endpoint,
        "kubeconfig": str(emulator.kubeconfig),
        "environment": emulator.environment(),
        "pid": os.getpid(),
    }


def announcement_line(emulator: Emulator) -> str:
    return json.dumps(announcement(emulator))
