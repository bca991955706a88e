"""Who calls the Kubernetes API: the emulator's own admin token, or a token of `aws eks get-token`.

The latter is `k8s-aws-v1.` and the base64 of a presigned STS GetCallerIdentity URL whose signature covers the cluster's
name. It is checked the way aws-iam-authenticator checks it, signature included.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qsl, quote, urlsplit

PREFIX = "k8s-aws-v1."
LIFETIME = 900.0  # seconds a token is good for, whatever its URL says (aws-iam-authenticator)
CLUSTER_HEADER = "x-k8s-aws-id"
_EMPTY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Identity:
    """A Kubernetes user. `policies` are the EKS access policies that apply to the whole cluster, by name."""

    username: str
    groups: tuple[str, ...] = ()
    arn: str = ""
    policies: tuple[str, ...] = ()


class TokenChecker(Protocol):
    """`identify` gives the user behind a bearer token, None when the token is not good for this cluster (401)."""

    def identify(self, cluster: str, token: str) -> Identity | None: ...


@dataclass(frozen=True, slots=True)
class Principal:
    """An IAM principal and the secret that its signatures are made with."""

    arn: str
    secret: str


class Tokens:
    """The TokenChecker of the emulator.

    `principal(access key)` finds who owns a key; `entry(cluster, arn)` gives the user that the cluster makes of a
    principal, None when it lets the principal in by no entry; `now()` is the wall clock, which signers use too.
    """

    def __init__(
        self,
        admin_token: str,
        principal: Callable[[str], Principal | None],
        entry: Callable[[str, str], Identity | None],
        now: Callable[[], float],
    ) -> None:
        self._admin_token = admin_token
        self._principal = principal
        self._entry = entry
        self._now = now

    def identify(self, cluster: str, token: str) -> Identity | None:
        if hmac.compare_digest(token.encode(), self._admin_token.encode()):
            return Identity("kubernetes-admin", ("system:masters", "system:authenticated"))
        if not token.startswith(PREFIX):
            return None
        arn = self._caller(cluster, token.removeprefix(PREFIX))
        return None if arn is None else self._entry(cluster, arn)

    def _caller(self, cluster: str, encoded: str) -> str | None:
        """The ARN that signed the token, None when anything about it is wrong."""
        try:
            url = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
            parts = urlsplit(url)
            query = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True))
            signed_at = dt.datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC).timestamp()
            key = query["X-Amz-Credential"].split("/")[0]
        except (ValueError, KeyError, binascii.Error):
            return None
        if query.get("Action") != "GetCallerIdentity" or parts.path not in ("", "/"):
            return None
        # X-Amz-Expires (60 s in `aws eks get-token`) bounds the URL's use at STS; the token itself lives longer.
        if not -LIFETIME <= self._now() - signed_at <= LIFETIME:
            return None
        principal = self._principal(key)
        headers = {"host": parts.netloc, CLUSTER_HEADER: cluster}
        if principal is None or not verify_presigned(query, headers, principal.secret):
            return None
        return principal.arn


def verify_presigned(query: Mapping[str, str], headers: Mapping[str, str], secret: str) -> bool:
    """Whether the SigV4 signature of a presigned GET of `/` is right for `headers` and `secret`.

    The cluster header must be among the signed ones."""
    try:
        names = query["X-Amz-SignedHeaders"].split(";")
        given = query["X-Amz-Signature"]
        _, date, region, service, end = query["X-Amz-Credential"].split("/")
        stamp = query["X-Amz-Date"]
        signed = "".join(f"{name}:{headers[name]}\n" for name in names)
    except (KeyError, ValueError):
        return False
    if CLUSTER_HEADER not in names or "host" not in names:
        return False
    pairs = sorted((quote(k, safe="-_.~"), quote(v, safe="-_.~")) for k, v in query.items() if k != "X-Amz-Signature")
    canonical = "\n".join(["GET", "/", "&".join(f"{k}={v}" for k, v in pairs), signed, ";".join(names), _EMPTY])
    scope = f"{date}/{region}/{service}/{end}"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, end):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.compare_digest(hmac.new(key, text.encode(), hashlib.sha256).hexdigest(), given)
