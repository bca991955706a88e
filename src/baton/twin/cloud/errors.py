"""AWS errors as values: the code, message and HTTP status that the EKS API answers with."""

from __future__ import annotations

from typing import Any

STATUS = {
    "AccessDeniedException": 403,
    "BadRequestException": 400,
    "ClientException": 400,
    "InvalidParameterException": 400,
    "InvalidRequestException": 400,
    "InvalidStateException": 400,
    "NotFoundException": 404,
    "ResourceInUseException": 409,
    "ResourceLimitExceededException": 400,
    "ResourceNotFoundException": 404,
    "ServerException": 500,
    "ServiceUnavailableException": 503,
    "ThrottlingException": 429,
}

_FIELDS = ("clusterName", "nodegroupName", "fargateProfileName", "addonName", "subscriptionId")


class AwsError(Exception):
    """An EKS error. `fields` are the body members besides message (clusterName, nodegroupName, ...), None included.

    Not a BatonError: it is an answer of the imitated service, to be put on the wire or turned into the port's error.
    """

    def __init__(self, code: str, message: str, **fields: str | None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = STATUS[code]
        self.fields: dict[str, str | None] = {name: fields.get(name) for name in _FIELDS}
        if code in ("BadRequestException", "NotFoundException", "ThrottlingException", "ServiceUnavailableException"):
            self.fields = {}

    def body(self) -> dict[str, Any]:
        """The JSON body."""
        return {**self.fields, "message": self.message}


def invalid_parameter(message: str, **fields: str | None) -> AwsError:
    return AwsError("InvalidParameterException", message, **fields)


def invalid_request(message: str, **fields: str | None) -> AwsError:
    return AwsError("InvalidRequestException", message, **fields)


def not_found(message: str, **fields: str | None) -> AwsError:
    return AwsError("ResourceNotFoundException", message, **fields)


def in_use(message: str, **fields: str | None) -> AwsError:
    return AwsError("ResourceInUseException", message, **fields)
