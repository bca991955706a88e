"""The AWS services around EKS, from moto in this process; what moto lacks is added beside it, never patched into it.

Every request comes as (headers, body) from the HTTP layer and is answered synchronously: moto keeps its state in
plain objects, and the twin reads them in the same thread.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

ACCOUNT = "123456789012"
AMAZON = "602401143452"  # owns the EKS-optimised AMIs in the standard regions
SERVICES = ("autoscaling", "ec2", "iam", "kms", "logs", "ssm", "sts")

# Before moto is imported: no catalogue of foreign AMIs, and the AWS managed policies that real modules attach.
os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Ask:
    """One AWS request. `form` holds the parameters of the query protocol, empty for the others."""

    service: str
    region: str
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        if "x-www-form-urlencoded" not in self.headers.get("content-type", ""):
            return {}
        return {k: v[0] for k, v in parse_qs(self.body.decode(errors="replace"), keep_blank_values=True).items()}


class MotoSide:
    """moto's services behind one call. `answer` serves a request; the rest reads and seeds moto's state."""

    def __init__(self, region: str = "us-east-1") -> None:
        self.region = region
        self._apps: dict[str, Any] = {}
        self._tokens: dict[str, int] = {}  # ClientToken of CreateLaunchTemplateVersion -> version number
        self._after: dict[tuple[str, str], Callable[[Ask], None]] = {
            ("ec2", "CreateLaunchTemplate"): self._own_tags_out,
            ("ec2", "CreateLaunchTemplateVersion"): self._from_source,
        }

    def ec2(self, region: str | None = None) -> Any:
        """moto's EC2 backend of a region."""
        from moto.ec2.models import ec2_backends

        return ec2_backends[ACCOUNT][region or self.region]

    def answer(self, ask: Ask) -> Answer:
        form = ask.form
        action = form.get("Action", "")
        if (ask.service, action) == ("ec2", "CreateLaunchTemplateVersion"):
            known = self._tokens.get(form.get("ClientToken", ""))
            if known is not None:
                return self._describe_version(ask, form, known)
        answer = self._call(ask)
        after = self._after.get((ask.service, action))
        if after is not None and answer.status == 200:
            after(ask)
        return answer

    def _call(self, ask: Ask) -> Answer:
        app = self._apps.get(ask.service)
        if app is None:
            from moto.moto_server.werkzeug_app import create_backend_app

            app = self._apps[ask.service] = create_backend_app(ask.service)
        environ: dict[str, Any] = {
            "REQUEST_METHOD": ask.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": ask.path,
            "QUERY_STRING": ask.query,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(ask.body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "CONTENT_LENGTH": str(len(ask.body)),
            "CONTENT_TYPE": ask.headers.get("content-type", ""),
        }
        for name, value in ask.headers.items():
            if name not in ("content-length", "content-type"):
                environ["HTTP_" + name.upper().replace("-", "_")] = value
        environ["HTTP_HOST"] = f"{ask.service}.{ask.region}.amazonaws.com"
        started: dict[str, Any] = {}

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
            started["status"], started["headers"] = int(status.split()[0]), dict(headers)

        body = b"".join(app(environ, start_response))
        headers = {k: v for k, v in started["headers"].items() if k.lower() not in ("content-length", "connection")}
        return Answer(started["status"], headers, body)

    # launch templates

    def _template(self, form: Mapping[str, str]) -> Any:
        backend = self.ec2()
        if form.get("LaunchTemplateId"):
            return backend.get_launch_template(form["LaunchTemplateId"])
        return backend.get_launch_template_by_name(form["LaunchTemplateName"])

    def _own_tags_out(self, ask: Ask) -> None:
        """moto keeps the template's own tags inside the template data, which reads back as a diff on every plan."""
        data = self._template(ask.form).versions[0].data
        kept = [s for s in data.get("TagSpecifications", ()) if s.get("ResourceType") != "launch-template"]
        if kept:
            data["TagSpecifications"] = kept
        else:
            data.pop("TagSpecifications", None)
        if data.get("UserData") is None:
            data.pop("UserData", None)

    def _from_source(self, ask: Ask) -> None:
        """moto forgets SourceVersion: what the new version does not set, it has from its source. And ClientToken."""
        form = ask.form
        template = self._template(form)
        newest = template.versions[-1]
        if form.get("SourceVersion"):
            source = template.get_version(form["SourceVersion"])
            newest.data = {**source.data, **{k: v for k, v in newest.data.items() if v is not None}}
        if form.get("ClientToken"):
            self._tokens[form["ClientToken"]] = newest.number

    def _describe_version(self, ask: Ask, form: Mapping[str, str], number: int) -> Answer:
        from baton.emulator.answers import ec2_answer

        template = self._template(form)
        version = template.versions[number - 1]
        return ec2_answer(
            "CreateLaunchTemplateVersion",
            {
                "LaunchTemplateVersion": {
                    "CreateTime": version.create_time,
                    "DefaultVersion": template.is_default(version),
                    "LaunchTemplateData": version.data,
                    "LaunchTemplateId": template.id,
                    "LaunchTemplateName": template.name,
                    "VersionNumber": version.number,
                }
            },
        )

    # images

    def register_image(
        self,
        name: str,
        *,
        created: datetime,
        owner: str = ACCOUNT,
        tags: Mapping[str, str] | None = None,
        text: str = "",
    ) -> str:
        """Put an image there as if it had been built at `created`; returns its id, which depends on the name alone."""
        import hashlib

        from moto.ec2.models.amis import Ami

        backend = self.ec2()
        image_id = "ami-0" + hashlib.sha256(f"{owner}/{name}".encode()).hexdigest()[:16]
        backend.amis[image_id] = Ami(
            backend,
            image_id,
            name=name,
            description=text,
            owner_id=owner,
            owner_alias="amazon" if owner == AMAZON else None,
            public=owner != ACCOUNT,
            virtualization_type="hvm",
            architecture="x86_64",
            creation_date=created.astimezone(UTC),
            image_location=f"{owner}/{name}",
            hypervisor="xen",
            root_device_type="ebs",
            root_device_name="/dev/xvda",
            region_name=f"{self.region}a",
            tags=dict(tags or {}),
        )
        return image_id

    def put_parameter(self, name: str, value: str) -> None:
        """An SSM parameter as AWS publishes them (Type String)."""
        from moto.ssm.models import ssm_backends

        backend = ssm_backends[ACCOUNT][self.region]
        backend.put_parameter(
            name=name,
            description="",
            value=value,
            parameter_type="String",
            allowed_pattern="",
            keyid="",
            overwrite=True,
            tags=[],
            data_type="text",
        )
