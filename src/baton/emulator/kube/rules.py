"""Rules of the API server's validation that many kinds share, and pod specs. Pure; causes are (field, message)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Json = dict[str, Any]
Cause = tuple[str, str]  # field, message

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
PERCENT = re.compile(r"[0-9]{1,9}%")
_WHOLE = re.compile(r"-?[0-9]{1,18}")
RFC1123_SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
RFC1123_LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_LABEL_VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_LABEL_KEY = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
NOT_NEGATIVE = "must be greater than or equal to 0"


def bad(value: Any, why: str) -> str:
    """`Invalid value: 3: must be ...`, the value as Go prints it."""
    return f"Invalid value: {json.dumps(value, separators=(',', ':'))}: {why}"


def one_of(value: Any, allowed: Sequence[str]) -> str:
    listed = ", ".join(f'"{v}"' for v in sorted(allowed))
    return f"Unsupported value: {json.dumps(value)}: supported values: {listed}"


def labels(given: Mapping[str, str], field: str) -> Iterator[Cause]:
    for name, value in given.items():
        yield from key(name, field)
        if len(value) > 63:
            yield field, bad(value, "must be no more than 63 characters")
        if not _VALUE.fullmatch(value):
            yield field, bad(value, _LABEL_VALUE)


def key(text: str, field: str) -> Iterator[Cause]:
    """A qualified name, as label keys are."""
    prefix, slash, name = text.rpartition("/")
    if slash and not SUBDOMAIN.fullmatch(prefix):
        yield field, bad(text, f"prefix part {RFC1123_SUBDOMAIN}")
    if len(name) > 63:
        yield field, bad(text, "name part must be no more than 63 characters")
    if not _QUALIFIED.fullmatch(name):
        yield field, bad(text, _LABEL_KEY)


def at_least_zero(spec: Json, fields: Sequence[str], path: str) -> Iterator[Cause]:
    for field in fields:
        value = spec.get(field)
        if value is not None and value < 0:
            yield f"{path}.{field}", bad(value, NOT_NEGATIVE)


def int_or_percent(value: Any, field: str) -> Iterator[Cause]:
    if isinstance(value, str) and not PERCENT.fullmatch(value):
        why = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex "
        yield field, bad(value, why + "used for validation is '[0-9]+%')")
    elif isinstance(value, int) and value < 0:
        yield field, bad(value, NOT_NEGATIVE)


def selector(given: Mapping[str, Any], field: str) -> Iterator[Cause]:
    """A metav1.LabelSelector."""
    yield from labels(given.get("matchLabels") or {}, f"{field}.matchLabels")
    for i, term in enumerate(given.get("matchExpressions") or ()):
        where = f"{field}.matchExpressions[{i}]"
        operator, values = term.get("operator"), term.get("values") or ()
        if operator in ("In", "NotIn"):
            if not values:
                yield f"{where}.values", "Required value: must be specified when `operator` is 'In' or 'NotIn'"
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                yield f"{where}.values", f"Forbidden: {why}"
        else:
            yield f"{where}.operator", bad(operator or "", "not a valid selector operator")
        yield from key(term.get("key") or "", f"{where}.key")


# --- pods


def pod_spec(spec: Json, path: str) -> Iterator[Cause]:
    """A PodSpec at `path`."""
    if not spec.get("containers"):
        yield f"{path}.containers", "Required value"
    seen: set[str] = set()
    for group in ("initContainers", "containers"):
        for i, container in enumerate(spec.get(group) or ()):
            yield from _container(container, f"{path}.{group}[{i}]", seen)
    yield from at_least_zero(spec, ("terminationGracePeriodSeconds",), path)
    policy = spec.get("restartPolicy")
    if policy not in ("Always", "OnFailure", "Never"):
        yield f"{path}.restartPolicy", one_of(policy, ("Always", "Never", "OnFailure"))
    for i, toleration in enumerate(spec.get("tolerations") or ()):
        yield from _toleration(toleration, f"{path}.tolerations[{i}]")
    for i, constraint in enumerate(spec.get("topologySpreadConstraints") or ()):
        yield from _spread(constraint, f"{path}.topologySpreadConstraints[{i}]")
    yield from labels(spec.get("nodeSelector") or {}, f"{path}.nodeSelector")
    yield from _affinity(spec.get("affinity") or {}, f"{path}.affinity")
    names = set()
    for i, volume in enumerate(spec.get("volumes") or ()):
        where, name = f"{path}.volumes[{i}].name", volume.get("name") or ""
        if not name:
            yield where, "Required value"
        elif not LABEL.fullmatch(name):
            yield where, bad(name, RFC1123_LABEL)
        if name in names:
            yield where, f'Duplicate value: "{name}"'
        names.add(name)
        claim = volume.get("persistentVolumeClaim")
        if claim is not None and not claim.get("claimName"):
            yield f"{path}.volumes[{i}].persistentVolumeClaim.claimName", "Required value"


def _container(container: Json, path: str, seen: set[str]) -> Iterator[Cause]:
    name = container.get("name") or ""
    if not name:
        yield f"{path}.name", "Required value"
    elif len(name) > 63 or not LABEL.fullmatch(name):
        yield f"{path}.name", bad(name, RFC1123_LABEL)
    if name in seen:
        yield f"{path}.name", f'Duplicate value: "{name}"'
    seen.add(name)
    if not container.get("image"):
        yield f"{path}.image", "Required value"
    for i, port in enumerate(container.get("ports") or ()):
        number = port.get("containerPort")
        if not number:
            yield f"{path}.ports[{i}].containerPort", "Required value"
        elif not 0 < number < 65536:
            yield f"{path}.ports[{i}].containerPort", bad(number, "must be between 1 and 65535, inclusive")
        if port.get("protocol", "TCP") not in ("TCP", "UDP", "SCTP"):
            yield f"{path}.ports[{i}].protocol", one_of(port["protocol"], ("SCTP", "TCP", "UDP"))
    resources = container.get("resources") or {}
    for part in ("limits", "requests"):
        for resource, amount in (resources.get(part) or {}).items():
            where = f"{path}.resources.{part}[{resource}]"
            if amount.startswith("-"):
                yield where, bad(amount, NOT_NEGATIVE)
    pull = container.get("imagePullPolicy", "Always")
    if pull not in ("Always", "IfNotPresent", "Never"):
        yield f"{path}.imagePullPolicy", one_of(pull, ("Always", "IfNotPresent", "Never"))
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        fields = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")
        yield from at_least_zero(container.get(probe) or {}, fields, f"{path}.{probe}")


def _toleration(toleration: Json, path: str) -> Iterator[Cause]:
    operator = toleration.get("operator") or "Equal"
    if operator not in ("Equal", "Exists"):
        yield f"{path}.operator", one_of(operator, ("Equal", "Exists"))
    if operator == "Exists" and toleration.get("value"):
        why = "value must be empty when `operator` is 'Exists'"
        yield f"{path}.operator", bad(toleration, why)
    if not toleration.get("key") and operator != "Exists":
        yield (
            f"{path}.operator",
            bad(operator, 'operator must be Exists when `key` is empty, which means "match all values and all keys"'),
        )
    yield from effect(toleration.get("effect") or "", f"{path}.effect", empty=True)


def effect(given: str, path: str, *, empty: bool = False) -> Iterator[Cause]:
    """A taint's effect; a toleration's may be empty."""
    allowed = ("NoSchedule", "PreferNoSchedule", "NoExecute")
    if given not in allowed and not (empty and not given):
        yield path, one_of(given, ("NoSchedule", "PreferNoSchedule", "NoExecute"))


def _spread(constraint: Json, path: str) -> Iterator[Cause]:
    skew = constraint.get("maxSkew", 0)
    if skew <= 0:
        yield f"{path}.maxSkew", bad(skew, "must be greater than zero")
    if not constraint.get("topologyKey"):
        yield f"{path}.topologyKey", "Required value: can not be empty"
    action = constraint.get("whenUnsatisfiable") or ""
    if action not in ("DoNotSchedule", "ScheduleAnyway"):
        yield f"{path}.whenUnsatisfiable", one_of(action, ("DoNotSchedule", "ScheduleAnyway"))
    domains = constraint.get("minDomains")
    if domains is not None and domains <= 0:
        yield f"{path}.minDomains", bad(domains, "must be greater than zero")
    yield from selector(constraint.get("labelSelector") or {}, f"{path}.labelSelector")


def _affinity(affinity: Json, path: str) -> Iterator[Cause]:
    node = affinity.get("nodeAffinity") or {}
    required = node.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is not None:
        where = f"{path}.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
        if not required.get("nodeSelectorTerms"):
            yield f"{where}.nodeSelectorTerms", "Required value: must have at least one node selector term"
        for i, term in enumerate(required.get("nodeSelectorTerms") or ()):
            yield from _node_term(term, f"{where}.nodeSelectorTerms[{i}]")
    for i, term in enumerate(node.get("preferredDuringSchedulingIgnoredDuringExecution") or ()):
        where = f"{path}.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[{i}]"
        yield from _weight(term, where)
        yield from _node_term(term.get("preference") or {}, f"{where}.preference")
    for kind in ("podAffinity", "podAntiAffinity"):
        given = affinity.get(kind) or {}
        for i, term in enumerate(given.get("requiredDuringSchedulingIgnoredDuringExecution") or ()):
            yield from _pod_term(term, f"{path}.{kind}.requiredDuringSchedulingIgnoredDuringExecution[{i}]")
        for i, term in enumerate(given.get("preferredDuringSchedulingIgnoredDuringExecution") or ()):
            where = f"{path}.{kind}.preferredDuringSchedulingIgnoredDuringExecution[{i}]"
            yield from _weight(term, where)
            yield from _pod_term(term.get("podAffinityTerm") or {}, f"{where}.podAffinityTerm")


def _weight(term: Json, path: str) -> Iterator[Cause]:
    if not 1 <= term.get("weight", 0) <= 100:
        yield f"{path}.weight", bad(term.get("weight", 0), "must be in the range 1-100")


def _pod_term(term: Json, path: str) -> Iterator[Cause]:
    if not term.get("topologyKey"):
        yield f"{path}.topologyKey", "Required value: can not be empty"
    for field in ("labelSelector", "namespaceSelector"):
        yield from selector(term.get(field) or {}, f"{path}.{field}")


def _node_term(term: Json, path: str) -> Iterator[Cause]:
    operators = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")
    for part in ("matchExpressions", "matchFields"):
        for i, expression in enumerate(term.get(part) or ()):
            where, operator = f"{path}.{part}[{i}]", expression.get("operator") or ""
            values: Sequence[str] = expression.get("values") or []
            allowed = operators if part == "matchExpressions" else ("In", "NotIn")
            if operator not in allowed:
                yield f"{where}.operator", bad(operator, "not a valid selector operator")
            elif operator in ("In", "NotIn") and not values:
                yield f"{where}.values", "Required value: must be specified when `operator` is 'In' or 'NotIn'"
            elif operator in ("Exists", "DoesNotExist") and values:
                why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                yield f"{where}.values", f"Forbidden: {why}"
            elif operator in ("Gt", "Lt") and not (len(values) == 1 and _WHOLE.fullmatch(values[0])):
                why = "must be specified single value when `operator` is 'Lt' or 'Gt'"
                yield f"{where}.values", f"Required value: {why}"
            yield from key(expression.get("key") or "", f"{where}.key")
