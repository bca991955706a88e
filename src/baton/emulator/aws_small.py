"""STS and SSM: who the emulator's caller is, and the parameters in which AWS publishes its node images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moto.core.responses import ActionResult
from moto.ssm.responses import SimpleSystemManagerResponse
from moto.sts.responses import TokenResponse

from baton.emulator.aws_view import when

Json = dict[str, Any]
PUBLIC = "/aws/service/"


class Sts(TokenResponse):  # type: ignore[misc]
    """`caller` is (access key, ARN) of the emulator's own user; every other key is moto's to know."""

    def __init__(self, caller: tuple[str, str]) -> None:
        super().__init__()
        self._caller = caller

    def get_caller_identity(self) -> Any:
        key, arn = self._caller
        if self.get_access_key() != key:
            found = super().get_caller_identity()
            told = getattr(found, "result", None) or {}
            if not str(told.get("Arn", "")).endswith(":user/moto"):
                return found
            # Keys that nobody made are let in as one user. AWS names users under iam, and EKS takes no other principal.
            return ActionResult({**told, "Arn": f"arn:aws:iam::{arn.split(':')[4]}:user/anyone"})
        return ActionResult({"UserId": "AIDABATONEMULATOR0000", "Account": arn.split(":")[4], "Arn": arn})

    def get_access_key(self) -> str:
        """moto looks for it in the header only; presigned URLs carry it in the query."""
        scope: str = (self.querystring.get("X-Amz-Credential") or [""])[0]
        return scope.split("/")[0] or str(super().get_access_key())


class Ssm(SimpleSystemManagerResponse):  # type: ignore[misc]
    """`published()` gives the public parameters by name: value and time in epoch seconds."""

    def __init__(self, published: Callable[[], dict[str, tuple[str, float]]]) -> None:
        super().__init__()
        self._published = published

    def _shape(self, name: str, value: str, at: float) -> Json:
        return {
            "Name": name,
            "Type": "String",
            "Value": value,
            "Version": 1,
            "LastModifiedDate": when(at),
            "ARN": f"arn:aws:ssm:{self.region}::parameter{name}",
            "DataType": "text",
        }

    def get_parameter(self) -> Any:
        name = str(self._get_param("Name") or "")
        found = self._published().get(name) if name.startswith(PUBLIC) else None
        if found is None:
            return super().get_parameter()
        return ActionResult({"Parameter": self._shape(name, *found)})

    def get_parameters(self) -> Any:
        published = self._published()
        names = list(self._get_param("Names") or [])
        mine = [n for n in names if n in published]
        if not mine:
            return super().get_parameters()
        rest = self.ssm_backend.get_parameters([n for n in names if n not in published])
        shown = [self._shape(n, *published[n]) for n in mine]
        shown += [p.response_object(self._get_param("WithDecryption"), self.region) for p in rest.values()]
        missing = [n for n in names if n not in published and n not in rest]
        return ActionResult({"Parameters": shown, "InvalidParameters": missing})

    def get_parameters_by_path(self) -> Any:
        path = str(self._get_param("Path") or "").rstrip("/") + "/"
        deep = bool(self._get_param("Recursive", False))
        mine = {
            n: v for n, v in self._published().items() if n.startswith(path) and (deep or "/" not in n[len(path) :])
        }
        if not path.startswith(PUBLIC) or not mine:
            return super().get_parameters_by_path()
        size = int(self._get_param("MaxResults") or 10)
        names = sorted(mine)
        token = self._get_param("NextToken")
        start = names.index(token) + 1 if token in names else 0
        page = names[start : start + size]
        more = page[-1] if start + size < len(names) else None
        return ActionResult({"Parameters": [self._shape(n, *mine[n]) for n in page], "NextToken": more})
