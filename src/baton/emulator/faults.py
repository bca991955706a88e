"""Things that go wrong on demand: refusals of the AWS API, an unreachable Kubernetes API, and the cloud's own faults.

One JSON form serves the flags, the scenario file and the control endpoint:

    {"faults": {"never_join": ["main"]},          what goes wrong in the cloud (twin.cloud.settings.Faults)
     "switches": {"failure_mode": "mixed"},       what AWS leaves open (…Switches); also "timings" and "durations"
     "api": [{"kind": "throttle", "service": "eks", "operation": "Describe*", "rate": 0.3, "times": 20}],
     "unreachable": {"demo": 90}}                 seconds of cluster time during which a cluster's API does not answer

`api` replaces the rules there were. A scenario file is {"steps": [{"after": 120, "set": {…}}, {"on": "update.started",
"type": "VersionUpdate", "subject": "demo", "after": 30, "set": {…}}]}: seconds of cluster time after the start, or
after the first event of that kind (with those data).
"""

from __future__ import annotations

import copy
import fnmatch
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from baton.errors import ReadError, UsageError
from baton.model.events import Event
from baton.twin.clock import VirtualClock
from baton.twin.cloud.cloud import CloudTwin
from baton.twin.cloud.settings import Faults as CloudFaults

GROUPS = ("faults", "switches", "timings", "durations")

# kind -> family of service -> (status, code, message). EC2 and the query services word these differently.
_ANSWERS = {
    "throttle": {
        "eks": (429, "ThrottlingException", "Rate exceeded"),
        "ec2": (503, "RequestLimitExceeded", "Request limit exceeded."),
        "query": (400, "Throttling", "Rate exceeded"),
        "json": (400, "ThrottlingException", "Rate exceeded"),
    },
    "server-error": {
        "eks": (500, "ServerException", "These errors are usually caused by a server-side issue."),
        "ec2": (500, "InternalError", "An internal error has occurred"),
        "query": (500, "InternalFailure", "An internal error has occurred"),
        "json": (500, "InternalServerError", "An internal error has occurred"),
    },
    "unavailable": {
        "eks": (503, "ServiceUnavailableException", "The service is unavailable. Back off and retry the operation."),
        "ec2": (503, "Unavailable", "The server is overloaded and can't handle the request."),
        "query": (503, "ServiceUnavailable", "Service is unavailable."),
        "json": (503, "ServiceUnavailable", "Service is unavailable."),
    },
    "expired-token": {
        "eks": (403, "ExpiredTokenException", "The security token included in the request is expired"),
        "ec2": (400, "RequestExpired", "Request has expired."),
        "query": (403, "ExpiredToken", "The security token included in the request is expired"),
        "json": (400, "ExpiredTokenException", "The security token included in the request is expired"),
    },
    "access-denied": {
        "eks": (403, "AccessDeniedException", "User is not authorized to perform this action"),
        "ec2": (403, "UnauthorizedOperation", "You are not authorized to perform this operation."),
        "query": (403, "AccessDenied", "User is not authorized to perform this action"),
        "json": (400, "AccessDeniedException", "User is not authorized to perform this action"),
    },
}
KINDS = tuple(_ANSWERS)


@dataclass(slots=True)
class ApiRule:
    """Refuse requests of `service` and `operation` (patterns): a share `rate` of them, at most `times` (0: no limit),
    until cluster time `until` (0: for good)."""

    kind: str
    service: str = "*"
    operation: str = "*"
    rate: float = 1.0
    times: int = 0
    until: float = 0.0
    hits: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    status: int
    code: str
    message: str


class FaultPlan:
    """All faults of one emulator. Raises UsageError for settings that do not exist or do not fit, changing nothing."""

    def __init__(self, cloud: CloudTwin, clock: VirtualClock, rng: Random) -> None:
        self._cloud = cloud
        self._clock = clock
        self._rng = rng
        self._rules: list[ApiRule] = []
        self._dark_until: dict[str, float] = {}
        self._waiting: list[dict[str, Any]] = []
        self.darkened: list[Callable[[str], object]] = []  # told the name of a cluster that becomes unreachable
        cloud.on_event(self._on_event)

    # --- what the servers ask ---------------------------------------------------------------------------------

    def refusal(self, service: str, operation: str) -> Refusal | None:
        """How this AWS request fails, None when it is let through. `service` is the one it was signed for."""
        for rule in self._rules:
            if rule.until and self._clock.now() >= rule.until:
                continue
            if rule.times and rule.hits >= rule.times:
                continue
            if not (fnmatch.fnmatchcase(service, rule.service) and fnmatch.fnmatchcase(operation, rule.operation)):
                continue
            if rule.rate < 1.0 and self._rng.random() >= rule.rate:
                continue
            rule.hits += 1
            return Refusal(*_ANSWERS[rule.kind][family(service)])
        return None

    def unreachable(self, cluster: str) -> bool:
        """Whether the cluster's Kubernetes API takes no connections now."""
        until = max(self._dark_until.get(cluster, 0.0), self._dark_until.get("*", 0.0))
        return self._clock.now() < until

    # --- changing ---------------------------------------------------------------------------------------------

    def apply(self, change: Mapping[str, Any]) -> None:
        """Set what `change` names (the form is in the module's text)."""
        rules, dark = self._checked(change)
        for group in GROUPS:
            for name, value in (change.get(group) or {}).items():
                self._cloud.settings.change(group, name, value)
        if rules is not None:
            self._rules = rules
        self._dark_until.update(dark)
        for cluster in dark:
            for fn in self.darkened:
                fn(cluster)

    def _checked(self, change: Mapping[str, Any]) -> tuple[list[ApiRule] | None, dict[str, float]]:
        """(new api rules, ends of unreachability); everything else is tried on a copy of the settings."""
        if not isinstance(change, Mapping):
            raise UsageError("faults are a JSON object", hint='for example {"faults": {"never_join": ["main"]}}')
        unknown = set(change) - {*GROUPS, "api", "unreachable"}
        if unknown:
            raise UsageError(
                f"unknown fault group {min(map(str, unknown))!r}",
                hint=f"one of {', '.join((*GROUPS, 'api', 'unreachable'))}",
            )
        trial = copy.deepcopy(self._cloud.settings)
        for group in GROUPS:
            for name, value in _object(group, change.get(group) or {}).items():
                trial.change(group, name, value)
        rules = None if change.get("api") is None else [self._rule(entry) for entry in _list(change["api"])]
        return rules, self._darkness(change.get("unreachable") or {})

    def _rule(self, entry: Any) -> ApiRule:
        given = dict(_object("api", entry))
        seconds = given.pop("seconds", 0)
        fits = {"kind": str, "service": str, "operation": str, "rate": (int, float), "times": int}
        for name, value in given.items():
            if name not in fits or not isinstance(value, fits[name]) or isinstance(value, bool):  # type: ignore[arg-type]
                raise UsageError(
                    f"api rule: {name} cannot be {value!r}", hint=f"members: {', '.join((*fits, 'seconds'))}"
                )
        if given.get("kind") not in KINDS:
            raise UsageError(f"api rule: no kind {given.get('kind')!r}", hint=f"one of {', '.join(KINDS)}")
        if not 0 <= given.get("rate", 1.0) <= 1 or given.get("times", 0) < 0 or not _is_seconds(seconds):
            raise UsageError("api rule: rate is 0 to 1, times and seconds are not negative")
        return ApiRule(**given, until=self._clock.now() + seconds if seconds else 0.0)

    def _darkness(self, given: Any) -> dict[str, float]:
        dark = {}
        for cluster, seconds in _object("unreachable", given).items():
            if not _is_seconds(seconds):
                raise UsageError(f"unreachable: {cluster} cannot be {seconds!r}", hint="give seconds of cluster time")
            dark[str(cluster)] = self._clock.now() + seconds
        return dark

    def as_json(self) -> dict[str, Any]:
        """Everything in force."""
        now = self._clock.now()
        return {
            **self._cloud.settings.as_json(),
            "api": [asdict(rule) for rule in self._rules],
            "unreachable": {name: round(until - now, 3) for name, until in self._dark_until.items() if until > now},
        }

    # --- scenarios --------------------------------------------------------------------------------------------

    def play(self, scenario: Mapping[str, Any]) -> None:
        """Take the steps of a scenario as their time comes. Raises UsageError."""
        if not isinstance(scenario, Mapping) or set(scenario) - {"steps", "about"}:
            raise UsageError("a scenario is a JSON object", hint='{"steps": [{"after": 60, "set": {"faults": {…}}}]}')
        for step in _list(scenario.get("steps") or []):
            self._check_step(step)
            if "on" in step:
                self._waiting.append(dict(step))
            else:
                self._later(step)

    def _check_step(self, step: Any) -> None:
        known = {"after", "on", "type", "subject", "set"}
        if not isinstance(step, Mapping) or set(step) - known or not isinstance(step.get("set"), Mapping):
            raise UsageError(f"scenario step {step!r}", hint=f"members: {', '.join(sorted(known))}; `set` is an object")
        if not _is_seconds(step.get("after", 0)):
            raise UsageError(f"scenario step: after cannot be {step['after']!r}", hint="give seconds of cluster time")
        self._checked(step["set"])

    def _later(self, step: Mapping[str, Any]) -> None:
        self._clock.call_later(float(step.get("after", 0)), lambda: self.apply(step["set"]))

    def _on_event(self, event: Event) -> None:
        for step in list(self._waiting):
            if (
                step["on"] == event.kind
                and step.get("type") in (None, event.data.get("type"))
                and step.get("subject") in (None, event.subject)
            ):
                self._waiting.remove(step)
                self._later(step)


def family(service: str) -> str:
    """How a service words its errors's errors: eks, ec2, query or json."""
    if service in ("eks", "ec2"):
        return service
    return "json" if service in ("kms", "logs", "ssm") else "query"


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise UsageError(f"expected a list, not {value!r}")
    return value


def _object(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UsageError(f"{name} is a JSON object, not {value!r}")
    return value


def _is_seconds(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


# --- from the command line ----------------------------------------------------------------------------------------


def parse_flag(text: str) -> dict[str, Any]:
    """One `--fault NAME[=VALUE]` in the JSON form.

    NAME is a fault of the cloud (`never_join=main,spare`, `control_plane_fails`), `group.name` of any setting
    (`switches.failure_mode=mixed`, `timings.node_boot=30`) or an API rule (`throttle=0.2`, `server-error`,
    `expired-token`). Raises UsageError.
    """
    name, _, value = text.partition("=")
    name = name.strip()
    if name in KINDS:
        try:
            return {"api": [{"kind": name, "rate": float(value or 1)}]}
        except ValueError:
            raise UsageError(f"--fault {text}: the rate is a number from 0 to 1") from None
    group, dot, setting = name.partition(".")
    if dot and group in GROUPS:
        return {group: {setting: _read(value)}}
    kinds = {f: type(getattr(CloudFaults(), f)) for f in CloudFaults.__dataclass_fields__}
    if name not in kinds:
        raise UsageError(
            f"--fault {text}: no fault {name!r}",
            hint=f"one of {', '.join((*kinds, *KINDS))}, or GROUP.NAME=VALUE with a group of {', '.join(GROUPS)}",
        )
    if kinds[name] is bool:
        return {"faults": {name: _read(value) if value else True}}
    return {"faults": {name: [part for part in value.split(",") if part] or ["*"]}}


def _read(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def read_scenario(path: Path) -> dict[str, Any]:
    """A scenario file. Raises ReadError."""
    try:
        scenario = json.loads(path.read_text())
    except OSError as error:
        raise ReadError(f"cannot be read: {error.strerror}", where=str(path), hint="name a scenario file") from error
    except ValueError as error:
        raise ReadError(f"is not JSON: {error}", where=str(path), hint="see the emulator's reference") from error
    if not isinstance(scenario, dict):
        raise ReadError("is not a JSON object", where=str(path), hint='{"steps": […]}')
    return scenario


def merged(changes: list[dict[str, Any]]) -> dict[str, Any]:
    """Several changes as one; api rules add up."""
    result: dict[str, Any] = {}
    for change in changes:
        for group, value in change.items():
            if group == "api":
                result.setdefault("api", []).extend(value)
            else:
                result.setdefault(group, {}).update(value)
    return result
