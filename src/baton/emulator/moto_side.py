"""The AWS services around EKS, from moto in this process. What moto lacks is added by subclass (aws_*.py).

moto keeps its state in module globals. Each MotoSide keeps its own and puts it there while it answers, so that several
emulators may live in one process, one after another or in threads.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import parse_qs, parse_qsl

from botocore.model import OperationNotFoundError

from baton.emulator.answers import Answer, json_error, query_error

ACCOUNT = "123456789012"
AMAZON = "602401143452"  # owns the EKS-optimised AMIs in the standard regions

# Read by moto when it is imported: no catalogue of foreign AMIs, and the AWS managed policies that modules attach.
os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")


@dataclass(frozen=True, slots=True)
class Ask:
    """One AWS request. `path` is as it came on the wire, percent-encoded."""

    service: str
    region: str
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        """The parameters of the query protocol, from body and URL; empty for the others."""
        if "x-www-form-urlencoded" in self.headers.get("content-type", ""):
            text = self.body.decode(errors="replace")
        else:
            text = self.query
        return {k: v[0] for k, v in parse_qs(text, keep_blank_values=True).items()}

    @property
    def operation(self) -> str:
        """Its name where the request tells it (query and JSON protocols), else ""."""
        target = self.headers.get("x-amz-target", "")
        return target.rpartition(".")[2] if target else self.form.get("Action", "")


@dataclass
class _State:
    """The content of moto's globals that belongs to one MotoSide."""

    backends: list[tuple[Any, dict[str, Any]]] = field(default_factory=list)
    random: Any = None


IMPORTING = threading.RLock()


def warm_up() -> None:
    """Import what the first AWS request would wait for."""
    with IMPORTING, suppress(ImportError):
        import baton.emulator.aws_autoscaling
        import baton.emulator.aws_ec2
        import baton.emulator.aws_small  # noqa: F401


class MotoSide:
    """`answer` serves a request; `entered()` is needed around anything else that reads or changes moto's state.

    `responders` are the services answered by a subclass of moto's own: service -> factory of a response object.
    `seed` is called once, inside, before anything is answered.
    """

    _lock: ClassVar[threading.RLock] = threading.RLock()
    _inside: ClassVar[MotoSide | None] = None

    def __init__(self, region: str, seed: int) -> None:
        self.region = region
        self.responders: dict[str, Callable[[], Any]] = {}
        self.seed: Callable[[], None] | None = None
        self._state = _State()
        self._seed_number = seed
        self._seeded = False
        self._salt = ""

    # --- moto's globals ---------------------------------------------------------------------------------------

    @contextmanager
    def entered(self) -> Iterator[None]:
        """moto's globals are this side's inside the block, and no other thread's."""
        with MotoSide._lock:
            if MotoSide._inside is not self:
                if MotoSide._inside is not None:
                    MotoSide._inside._take_out()
                self._put_in()
                MotoSide._inside = self
            if not self._seeded:
                self._seeded = True
                salt, self._salt = self._salt, ""
                self.salt("")
                if self.seed is not None:
                    self.seed()
                self.salt(salt)
            yield

    def _take_out(self) -> None:
        from moto.core.base_backend import BackendDict
        from moto.moto_api._internal import mock_random

        self._state = _State([(b, dict(b)) for b in BackendDict._instances], mock_random.getstate())
        for backend, _ in self._state.backends:
            backend.clear()
        BackendDict._instances.clear()

    def _put_in(self) -> None:
        from moto.core.base_backend import BackendDict
        from moto.moto_api._internal import mock_random

        if self._state.random is None:
            mock_random.seed(f"{self._seed_number}/{self._salt}")
        else:
            mock_random.setstate(self._state.random)
        for backend, content in self._state.backends:
            backend.update(content)
            BackendDict._instances.append(backend)
        self._state = _State()

    def salt(self, text: str) -> None:
        """Make the identifiers that moto draws from here on depend on the seed and `text` only: a replayed request
        gets the identifiers it got the first time."""
        self._salt = text
        if MotoSide._inside is self:
            from moto.moto_api._internal import mock_random

            mock_random.seed(f"{self._seed_number}/{text}")
        else:
            self._state.random = None

    def close(self) -> None:
        """Give the state up."""
        with MotoSide._lock:
            if MotoSide._inside is self:
                self._take_out()
                MotoSide._inside = None
            self._state = _State()

    # --- backends ---------------------------------------------------------------------------------------------

    def ec2(self) -> Any:
        """moto's EC2 backend; use it inside `entered()`."""
        from moto.ec2.models import ec2_backends

        return ec2_backends[ACCOUNT][self.region]

    def iam(self) -> Any:
        from moto.iam.models import iam_backends

        return iam_backends[ACCOUNT]["aws"]

    def sts(self) -> Any:
        from moto.sts.models import sts_backends

        return sts_backends[ACCOUNT]["aws"]

    # --- requests ---------------------------------------------------------------------------------------------

    def answer(self, ask: Ask) -> Answer:
        """Never raises for what a client sent."""
        try:
            # moto's modules import each other in circles: a request must not meet them half imported by warm_up.
            with IMPORTING, self.entered():
                return self._dispatch(ask)
        except (NotImplementedError, OperationNotFoundError) as error:
            return _error(ask, "InvalidAction", f"not served by the emulator: {error}", 400)
        except ImportError as error:
            return _error(ask, "InvalidAction", f"the emulator cannot serve {ask.service}: {error}", 400)
        except Exception as error:  # moto raises anything for input it does not expect
            return _error(
                ask, "InternalFailure", f"{ask.service} {ask.operation}: {type(error).__name__}: {error}", 500
            )

    def _dispatch(self, ask: Ask) -> Answer:
        from moto.core.exceptions import HTTPException
        from moto.core.request import Request

        base = f"https://{ask.service}.{ask.region}.amazonaws.com{ask.path}"
        url = f"{base}?{ask.query}" if ask.query else base
        headers = {k: v for k, v in ask.headers.items() if k not in ("host", "content-length")}
        serve = self._server(ask.service, base)
        if serve is None:
            return _error(ask, "InvalidAction", f"the emulator does not serve {ask.service} at {ask.path}", 404)
        request = Request.from_primitives(ask.method, url, headers, ask.body)
        try:
            status, out, body = serve(request, url, request.headers)
        except HTTPException as error:
            status, out, body = error.code, dict(error.get_headers()), error.get_body()
        raw = body.encode() if isinstance(body, str) else bytes(body or b"")
        kept = {str(k): str(v) for k, v in dict(out).items() if str(k).lower() not in _HOP}
        kept.setdefault("Content-Type", "application/x-amz-json-1.1" if raw[:1] == b"{" else "text/xml")
        return Answer(int(kept.pop("status", status)), kept, raw)

    def _server(self, service: str, url: str) -> Callable[..., Any] | None:
        factory = self.responders.get(service)
        if factory is not None:
            found: Callable[..., Any] = factory()._dispatch
            return found
        from moto import backend_index, backends

        for name, pattern in backend_index.backend_url_patterns:
            if not pattern.match(url):
                continue
            every: Any = backends.get_backend(name)
            regions = every[ACCOUNT]
            backend = regions[self.region] if self.region in regions else regions["aws"]
            for path, method in backend.urls.items():
                if re.compile(path).match(url):
                    return method  # type: ignore[no-any-return]
        return None


_HOP = frozenset(("content-length", "connection", "date", "transfer-encoding"))


def _error(ask: Ask, code: str, message: str, status: int) -> Answer:
    """In the form that the request's protocol wants."""
    if "x-amz-target" in ask.headers or ask.headers.get("content-type", "").startswith("application/json"):
        return json_error("UnknownOperationException" if code == "InvalidAction" else code, message, status)
    return query_error(code, message, status, ec2=ask.service == "ec2")


def parsed_json(body: bytes) -> Any:
    """The body as JSON, {} when it is none."""
    try:
        return json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return {}


def query_pairs(query: str) -> dict[str, str]:
    return dict(parse_qsl(query, keep_blank_values=True))
