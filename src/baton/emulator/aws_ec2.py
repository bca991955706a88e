"""EC2: moto's, with the twin's instances among its own and what real modules miss in it set right.

- launch templates keep their own tags out of the template data, know SourceVersion and ClientToken
- images are registered with their architecture, tags and root device, and are found by more filters
- free addresses of subnets count the twin's nodes
"""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.amis import Ami
from moto.ec2.responses import EC2Response
from moto.ec2.utils import random_ami_id

from baton.emulator.aws_view import View, keeps, when
from baton.emulator.moto_side import ACCOUNT

Json = dict[str, Any]


class NodeImage(Ami):  # type: ignore[misc]
    """An image that can be looked for by every filter that people use for node AMIs."""

    def get_filter_value(self, filter_name: str, method_name: str | None = None) -> Any:
        own = {
            "creation-date": self.creation_date.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "description": self.description,
            "root-device-type": self.root_device_type,
            "root-device-name": self.root_device_name,
            "hypervisor": self.hypervisor,
            "image-type": self.image_type,
            "ena-support": "true",
            "block-device-mapping.volume-type": "gp3",
            "manifest-location": self.image_location,
        }
        if filter_name in own:
            return own[filter_name]
        return super().get_filter_value(filter_name, method_name)


class Ec2(EC2Response):  # type: ignore[misc]
    """`tokens` remembers client tokens of launch templates: a retry with one gets the first answer."""

    def __init__(self, view: View, tokens: dict[str, Json]) -> None:
        super().__init__()
        self._view = view
        self._tokens = tokens

    # --- instances --------------------------------------------------------------------------------------------

    def _mine(self) -> tuple[list[str], list[str], list[Json]]:
        """(all ids asked for, those that are not the twin's, the twin's that fit)."""
        asked = list(self._get_param("InstanceIds", []))
        known = self._view.instances()
        filters = self._filters_from_querystring()
        chosen = [known[i] for i in asked if i in known] if asked else list(known.values())
        return asked, [i for i in asked if i not in known], [s for s in chosen if keeps(s, filters)]

    def describe_instances(self) -> ActionResult:
        self.error_on_dryrun()
        asked, others, mine = self._mine()
        filters = self._filters_from_querystring()
        backend = self.ec2_backend
        if asked:
            theirs = backend.get_reservations_by_instance_ids(others, filters=filters) if others else []
        else:
            theirs = backend.describe_instances(filters=filters)
        every = [_reservation(s) for s in mine] + [r for r in theirs if r.instances]
        names = [r["ReservationId"] if isinstance(r, dict) else r.id for r in every]
        token = self._get_param("NextToken")
        if token is not None and token not in names:
            raise EC2ClientError("InvalidNextToken", "The token is invalid")
        start = names.index(token) + 1 if token else 0
        size = int(self._get_param("MaxResults", 1000))
        page = every[start : start + size]
        more = names[start + size - 1] if len(every) > start + size else None
        return ActionResult({"Reservations": page, "NextToken": more})

    def describe_instance_status(self) -> ActionResult:
        asked, others, mine = self._mine()
        everything = bool(self._get_bool_param("IncludeAllInstances", False))
        theirs: list[Any] = []
        if others or not asked:
            filters = [{"name": k, "values": v} for k, v in self._filters_from_querystring().items()]
            theirs = self.ec2_backend.describe_instance_status(others, everything, filters)
        fine = {"Status": "ok", "Details": [{"Name": "reachability", "Status": "passed"}]}
        rows = [
            {
                "InstanceId": s["InstanceId"],
                "InstanceState": s["State"],
                "AvailabilityZone": s["Placement"]["AvailabilityZone"],
                "InstanceStatus": fine,
                "SystemStatus": fine,
            }
            for s in mine
            if everything or s["State"]["Name"] == "running"
        ]
        return ActionResult({"InstanceStatuses": rows + list(theirs)})

    def terminate_instances(self) -> ActionResult:
        _, others, mine = self._mine()
        self.error_on_dryrun()
        rows: list[Any] = []
        if others:
            rows += self.ec2_backend_terminate(others)
        for shape in mine:
            gone = shape["State"]["Name"] == "terminated"
            if not gone:
                self._view.cloud.lose_instance(shape["InstanceId"])
            after = shape["State"] if gone else {"Code": 32, "Name": "shutting-down"}
            rows.append({"InstanceId": shape["InstanceId"], "CurrentState": after, "PreviousState": shape["State"]})
        return ActionResult({"TerminatingInstances": rows})

    def ec2_backend_terminate(self, ids: list[str]) -> list[Json]:
        """moto's own instances."""
        gone = self.ec2_backend.terminate_instances(ids)
        state = {"Code": 32, "Name": "shutting-down"}
        return [{"InstanceId": i.id, "CurrentState": state, "PreviousState": before} for i, before in gone]

    def create_tags(self) -> Any:
        known = self._view.instances()
        ids = list(self._get_param("Resources", []))
        mine = [i for i in ids if i in known]
        tags = {t["Key"]: t.get("Value", "") for t in self._get_param("Tags", [])}
        for instance_id in mine:
            self._view.extra_tags.setdefault(instance_id, {}).update(tags)
        return EmptyResult() if mine and len(mine) == len(ids) else super().create_tags()

    # --- subnets ----------------------------------------------------------------------------------------------

    def describe_subnets(self) -> ActionResult:
        result = super().describe_subnets()
        shown = [_Subnet(s, self._view.taken_addresses(s.id)) for s in result.result["Subnets"]]
        return ActionResult({"Subnets": shown})

    # --- launch templates -------------------------------------------------------------------------------------

    def _once(self, make: Any) -> ActionResult:
        """`make()`, or the result that the same client token got before."""
        token = self._get_param("ClientToken")
        key = f"{self._get_action()} {token}"
        if token and key in self._tokens:
            return ActionResult(self._tokens[key])
        result = make()
        if token:
            self._tokens[key] = result.result
        return result

    def create_launch_template(self) -> ActionResult:
        return self._once(self._create_template)

    def _create_template(self) -> ActionResult:
        result = super().create_launch_template()
        template = self.ec2_backend.get_launch_template(result.result["LaunchTemplate"]["LaunchTemplateId"])
        data = template.versions[0].data
        kept = [s for s in data.pop("TagSpecifications", ()) if s.get("ResourceType") != "launch-template"]
        if kept:
            data["TagSpecifications"] = kept
        if data.get("UserData") is None:
            data.pop("UserData", None)
        return result

    def create_launch_template_version(self) -> ActionResult:
        return self._once(self._create_version)

    def _create_version(self) -> ActionResult:
        source = self._get_param("SourceVersion")
        result = super().create_launch_template_version()
        shown = result.result["LaunchTemplateVersion"]
        template = self.ec2_backend.get_launch_template(shown["LaunchTemplateId"])
        newest = template.versions[-1]
        if source:
            own = {k: v for k, v in newest.data.items() if v is not None}
            newest.data = shown["LaunchTemplateData"] = {**template.get_version(source).data, **own}
        return result

    # --- images -----------------------------------------------------------------------------------------------

    def register_image(self) -> ActionResult:
        """Usable as a node AMI at once, with the tags it was given."""
        self.error_on_dryrun()
        name = self._get_param("Name")
        if not name:
            raise EC2ClientError("MissingParameter", "The request must contain the parameter Name")
        backend = self.ec2_backend
        if any(a.name == name and a.owner_id == ACCOUNT for a in backend.amis.values()):
            raise EC2ClientError("InvalidAMIName.Duplicate", f"AMI name {name} is already in use by AMI")
        tags: dict[str, str] = {}
        for spec in self._get_param("TagSpecifications", []):
            if spec.get("ResourceType") == "image":
                tags.update({t["Key"]: t.get("Value", "") for t in spec.get("Tags", ())})
        image = add_image(
            backend,
            random_ami_id(),
            name,
            created=self._view.cloud.core.now(),
            description=self._get_param("Description", ""),
            architecture=self._get_param("Architecture", "x86_64"),
            root_device=self._get_param("RootDeviceName", "/dev/xvda"),
            tags=tags,
        )
        return ActionResult({"ImageId": image.id})


def add_image(
    backend: Any,
    image_id: str,
    name: str,
    *,
    created: float,
    description: str = "",
    architecture: str = "x86_64",
    root_device: str = "/dev/xvda",
    owner: str = ACCOUNT,
    tags: dict[str, str] | None = None,
) -> NodeImage:
    """Put an image there as if it had been registered at `created`, in epoch seconds."""
    backend.amis[image_id] = image = NodeImage(
        backend,
        image_id,
        name=name,
        description=description,
        owner_id=owner,
        owner_alias=None if owner == ACCOUNT else "amazon",
        public=owner != ACCOUNT,
        virtualization_type="hvm",
        architecture=architecture,
        creation_date=when(created),
        image_location=f"{owner}/{name}",
        hypervisor="xen",
        root_device_type="ebs",
        root_device_name=root_device,
        region_name=f"{backend.region_name}a",
        boot_mode="uefi-preferred",
        tags=dict(tags or {}),
    )
    image.ena_support = True
    return image


class _Subnet:
    """moto's subnet with fewer free addresses."""

    def __init__(self, subnet: Any, taken: int) -> None:
        self._subnet = subnet
        self.available_ip_address_count = max(0, subnet.available_ip_address_count - taken)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._subnet, name)


def _reservation(shape: Json) -> Json:
    reservation = "r-" + str(shape["InstanceId"])[2:]
    return {"ReservationId": reservation, "OwnerId": ACCOUNT, "Groups": [], "Instances": [shape]}
