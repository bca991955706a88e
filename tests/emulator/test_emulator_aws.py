"""boto3 against the emulator: node groups are real Auto Scaling groups with real instances at every moment."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError
from emulator_world import World


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """One emulator with cluster demo at 1.34 and node group main of three on the golden AMI."""
    made = World()
    made.cluster()
    made.group(launchTemplate={"id": made.template("main", made.golden("1.34")), "version": "1"})
    yield made
    made.stop()


def asg_of(world: World) -> str:
    return str(world.node_group()["resources"]["autoScalingGroups"][0]["name"])


def test_golden_images_have_names_tags_and_dates(world: World) -> None:
    """Without them a `data "aws_ami"` with a name filter and most_recent would find nothing, or the wrong one."""
    images = world.ec2.describe_images(
        Owners=["self"],
        Filters=[{"Name": "name", "Values": ["golden-eks-1.34-*"]}, {"Name": "state", "Values": ["available"]}],
    )["Images"]
    newest = max(images, key=lambda i: i["CreationDate"])
    assert len(images) == 2
    assert newest["Name"] == "golden-eks-1.34-v20261015"
    assert newest["OwnerId"] == "123456789012"
    assert newest["Architecture"] == "x86_64"
    assert {t["Key"]: t["Value"] for t in newest["Tags"]}["KubernetesVersion"] == "1.34"


def test_eks_optimised_images_belong_to_amazon(world: World) -> None:
    """People who look for AWS's own node images by owner and name must find the one of each version."""
    images = world.ec2.describe_images(
        Owners=["602401143452"], Filters=[{"Name": "name", "Values": ["amazon-eks-node-al2023-x86_64-standard-1.35-*"]}]
    )["Images"]
    parameter = "/aws/service/eks/optimized-ami/1.35/amazon-linux-2023/x86_64/standard/recommended/image_id"
    told = world.client("ssm").get_parameter(Name=parameter)["Parameter"]["Value"]
    assert [i["ImageId"] for i in images] == [told]


def test_recommended_release_parameters_by_path(world: World) -> None:
    """The provider reads the release version from SSM when a group follows the latest AMI."""
    folder = "/aws/service/eks/optimized-ami/1.34/amazon-linux-2023/x86_64/standard/recommended"
    found = world.client("ssm").get_parameters_by_path(Path=folder)["Parameters"]
    values = {p["Name"].rpartition("/")[2]: p["Value"] for p in found}
    assert values["release_version"].startswith("1.34.")
    assert values["image_name"].startswith("amazon-eks-node-al2023-x86_64-standard-1.34-v")


def test_unknown_parameter_is_refused(world: World) -> None:
    """A parameter of a version that does not exist must not look as if it did."""
    with pytest.raises(ClientError, match="ParameterNotFound"):
        world.client("ssm").get_parameter(Name="/aws/service/eks/optimized-ami/9.99/amazon-linux-2023/x86_64/x")


def test_instances_groups_and_nodes_tell_the_same(world: World) -> None:
    """A tool that compares EC2, Auto Scaling and Kubernetes would otherwise see three different clusters."""
    group = world.asg(asg_of(world))
    instances = {i["InstanceId"]: i for i in world.instances("running")}
    members = {i["InstanceId"] for i in group["Instances"] if i["LifecycleState"] == "InService"}
    nodes = world.nodes()
    assert members == set(instances)
    assert {i["PrivateDnsName"] for i in instances.values()} == set(nodes)
    assert {n["spec"]["providerID"].rpartition("/")[2] for n in nodes.values()} == members
    assert {i["Placement"]["AvailabilityZone"] for i in instances.values()} == {f"us-east-1{z}" for z in "abc"}
    rows = world.scaling.describe_auto_scaling_instances(InstanceIds=sorted(members))["AutoScalingInstances"]
    assert {r["AutoScalingGroupName"] for r in rows} == {group["AutoScalingGroupName"]}


def test_instances_are_found_by_tag_and_name(world: World) -> None:
    """Drain scripts look instances up by private DNS name and by the node group's tags."""
    node = sorted(world.nodes())[0]
    by_name = world.ec2.describe_instances(Filters=[{"Name": "private-dns-name", "Values": [node]}])["Reservations"]
    by_tag = world.ec2.describe_instances(Filters=[{"Name": "tag:eks:nodegroup-name", "Values": ["main"]}])[
        "Reservations"
    ]
    nothing = world.ec2.describe_instances(Filters=[{"Name": "tag:eks:nodegroup-name", "Values": ["other"]}])
    assert len(by_name) == 1
    assert len(by_tag) >= 3
    assert nothing["Reservations"] == []


def test_unknown_instance_is_refused(world: World) -> None:
    """EC2 answers with an error, not with an empty list, when an id does not exist."""
    with pytest.raises(ClientError, match=r"InvalidInstanceID\.NotFound"):
        world.ec2.describe_instances(InstanceIds=["i-00000000000000000"])


def test_other_groups_and_instances_are_shown_beside(world: World) -> None:
    """Self-managed groups of the same account must not vanish behind the node groups."""
    world.scaling.create_auto_scaling_group(
        AutoScalingGroupName="own",
        MinSize=0,
        MaxSize=1,
        DesiredCapacity=0,
        VPCZoneIdentifier=world.subnets[0],
        LaunchTemplate={"LaunchTemplateName": "main", "Version": "1"},
    )
    names = {g["AutoScalingGroupName"] for g in world.scaling.describe_auto_scaling_groups()["AutoScalingGroups"]}
    assert {"own", asg_of(world)} <= names
    own = world.ec2.run_instances(ImageId=world.golden("1.34"), MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    known = {i["InstanceId"] for i in world.instances()}
    mixed = world.ec2.describe_instances(InstanceIds=[own, *(sorted(known - {own})[:1])])["Reservations"]
    assert own in known
    assert len(mixed) == 2
    world.ec2.terminate_instances(InstanceIds=[own])


def test_own_launch_template_of_eks_is_in_ec2(world: World) -> None:
    """EKS copies the user's template; tools follow the group's template id into EC2."""
    group = world.asg(asg_of(world))
    spec = group["MixedInstancesPolicy"]["LaunchTemplate"]["LaunchTemplateSpecification"]
    versions = world.ec2.describe_launch_template_versions(
        LaunchTemplateId=spec["LaunchTemplateId"], Versions=[spec["Version"]]
    )["LaunchTemplateVersions"]
    assert versions[0]["LaunchTemplateName"].startswith("eks-")
    assert versions[0]["LaunchTemplateData"]["ImageId"] == world.golden("1.34")


def test_free_addresses_count_the_nodes(world: World) -> None:
    """A check for free IPs would pass on a full subnet if nodes took none."""
    shown = world.ec2.describe_subnets(SubnetIds=world.subnets)["Subnets"]
    used = {s: sum(i["SubnetId"] == s for i in world.instances("running", "pending")) for s in world.subnets}
    for subnet in shown:
        assert subnet["AvailableIpAddressCount"] <= 251 - used[subnet["SubnetId"]]


def test_desired_capacity_grows_and_shrinks_the_cluster(world: World) -> None:
    """Cluster Autoscaler works through these calls; nodes must follow them."""
    name, before = asg_of(world), set(world.nodes())
    world.scaling.set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=4)
    world.until(lambda: len(world.nodes()) == 4)
    assert world.node_group()["scalingConfig"]["desiredSize"] == 4
    new = (set(world.nodes()) - before).pop()
    gone = next(i["InstanceId"] for i in world.instances("running") if i["PrivateDnsName"] == new)
    activity = world.scaling.terminate_instance_in_auto_scaling_group(
        InstanceId=gone, ShouldDecrementDesiredCapacity=True
    )["Activity"]
    assert activity["StatusCode"] == "InProgress"
    world.until(lambda: set(world.nodes()) == before)
    assert world.asg(name)["DesiredCapacity"] == 3
    states = {i["InstanceId"]: i["State"]["Name"] for i in world.instances()}
    assert states[gone] == "terminated"


def test_sizes_that_do_not_fit_are_refused(world: World) -> None:
    """Auto Scaling refuses a desired capacity above the maximum; a silent clamp would hide the mistake."""
    with pytest.raises(ClientError, match="ValidationError") as caught:
        world.scaling.set_desired_capacity(AutoScalingGroupName=asg_of(world), DesiredCapacity=99)
    assert "99" in str(caught.value)


def test_terminated_instance_is_replaced(world: World) -> None:
    """A machine that somebody terminates in EC2 leaves the cluster and comes back as another one."""
    before = {i["InstanceId"] for i in world.instances("running")}
    victim = sorted(before)[0]
    answer = world.ec2.terminate_instances(InstanceIds=[victim])["TerminatingInstances"][0]
    assert answer["CurrentState"]["Name"] == "shutting-down"
    after = world.until(
        lambda: (
            (now := {i["InstanceId"] for i in world.instances("running")})
            and len(now) == 3
            and victim not in now
            and now
        )
    )
    assert len(after - before) == 1
    world.until(lambda: len(world.nodes()) == 3)


def test_tags_set_on_a_group_are_kept(world: World) -> None:
    """`aws_autoscaling_group_tag` on node groups is how people label them for Cluster Autoscaler."""
    name = asg_of(world)
    tag = {
        "ResourceId": name,
        "ResourceType": "auto-scaling-group",
        "Key": "k8s.io/cluster-autoscaler/node-template/label/pool",
        "Value": "main",
        "PropagateAtLaunch": False,
    }
    world.scaling.create_or_update_tags(Tags=[tag])
    shown = {t["Key"]: t["Value"] for t in world.asg(name)["Tags"]}
    assert shown[tag["Key"]] == "main"
    assert shown["eks:nodegroup-name"] == "main"


def test_launch_template_keeps_its_own_tags_apart(world: World) -> None:
    """Tags of the template inside its data are a diff on every plan, and every apply would roll the nodes."""
    made = world.ec2.create_launch_template(
        LaunchTemplateName="tagged",
        LaunchTemplateData={
            "ImageId": world.golden("1.34"),
            "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "1"}]}],
        },
        TagSpecifications=[{"ResourceType": "launch-template", "Tags": [{"Key": "b", "Value": "2"}]}],
    )["LaunchTemplate"]
    data = world.ec2.describe_launch_template_versions(LaunchTemplateId=made["LaunchTemplateId"])
    data = data["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    assert made["Tags"] == [{"Key": "b", "Value": "2"}]
    assert data["TagSpecifications"] == [{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "1"}]}]
    assert "UserData" not in data


def test_launch_template_versions_know_their_source_and_token(world: World) -> None:
    """A conductor that adds a version with another AMI must keep the rest, and a retry must not add a second one."""
    template = world.template("sourced", world.golden("1.34"))
    new = {"LaunchTemplateId": template, "SourceVersion": "1", "ClientToken": "token-1"}
    new["LaunchTemplateData"] = {"ImageId": world.golden("1.35")}
    first = world.ec2.create_launch_template_version(**new)["LaunchTemplateVersion"]
    again = world.ec2.create_launch_template_version(**new)["LaunchTemplateVersion"]
    assert first["VersionNumber"] == again["VersionNumber"] == 2
    assert first["LaunchTemplateData"]["InstanceType"] == "m5.large"
    assert first["LaunchTemplateData"]["ImageId"] == world.golden("1.35")
    latest = world.ec2.describe_launch_template_versions(LaunchTemplateId=template, Versions=["$Latest"])
    assert latest["LaunchTemplateVersions"][0]["VersionNumber"] == 2


def test_caller_identity(world: World) -> None:
    """`aws sts get-caller-identity` is the first thing that scripts and the provider ask."""
    found = world.client("sts").get_caller_identity()
    assert found["Account"] == "123456789012"
    assert found["Arn"] == "arn:aws:iam::123456789012:user/baton"


def test_registered_image_is_a_node_ami_at_once(world: World) -> None:
    """People build an image and use it; its Kubernetes version must come from what they registered."""
    image = world.ec2.register_image(
        Name="team-node-image-7",
        Architecture="x86_64",
        RootDeviceName="/dev/xvda",
        TagSpecifications=[{"ResourceType": "image", "Tags": [{"Key": "KubernetesVersion", "Value": "1.33"}]}],
    )["ImageId"]
    made = world.group("fresh", size=1, launchTemplate={"id": world.template("fresh", image)})
    assert made["status"] == "ACTIVE"
    node = next(n for n in world.nodes().values() if n["metadata"]["labels"]["eks.amazonaws.com/nodegroup"] == "fresh")
    assert node["status"]["nodeInfo"]["kubeletVersion"].startswith("v1.33.")
    assert node["metadata"]["labels"]["eks.amazonaws.com/nodegroup-image"] == image
    world.eks.delete_nodegroup(clusterName="demo", nodegroupName="fresh")
    world.until(lambda: "fresh" not in world.eks.list_nodegroups(clusterName="demo")["nodegroups"])


def test_duplicate_image_name_is_refused(world: World) -> None:
    """Two images of one name would make an exact name filter ambiguous."""
    with pytest.raises(ClientError, match=r"InvalidAMIName\.Duplicate"):
        world.ec2.register_image(Name="golden-eks-1.35-v20261101")


def test_rolling_update_moves_the_group_to_the_new_image(world: World) -> None:
    """The whole point: a new template version rolls every node, and EC2, Auto Scaling and Kubernetes show it."""
    template = world.node_group()["launchTemplate"]["id"]
    image = world.golden("1.35")
    world.update(world.eks.update_cluster_version(name="demo", version="1.35"))
    made = world.ec2.create_launch_template_version(
        LaunchTemplateId=template, SourceVersion="1", LaunchTemplateData={"ImageId": image}
    )["LaunchTemplateVersion"]
    answer = world.eks.update_nodegroup_version(
        clusterName="demo", nodegroupName="main", launchTemplate={"id": template, "version": str(made["VersionNumber"])}
    )
    surged = world.until(lambda: world.asg(asg_of(world))["DesiredCapacity"] > 3)
    done = world.update(answer, nodegroupName="main")
    assert surged
    assert done["status"] == "Successful", done
    assert {i["ImageId"] for i in world.instances("running", "pending")} == {image}
    assert {n["status"]["nodeInfo"]["kubeletVersion"][:6] for n in world.nodes().values()} == {"v1.35."}
    group = world.asg(asg_of(world))
    assert (group["DesiredCapacity"], len(group["Instances"])) == (3, 3)
    assert world.node_group()["releaseVersion"] == image


def test_second_update_meets_the_first(world: World) -> None:
    """Two pipelines that update at once: one wins, the other is told which update is in the way."""
    template = {k: v for k, v in world.node_group()["launchTemplate"].items() if k != "name"}
    world.faults({"durations": {"node_group_config": [6000, 6000]}})
    world.eks.update_nodegroup_config(
        clusterName="demo", nodegroupName="main", labels={"addOrUpdateLabels": {"a": "b"}}
    )
    with pytest.raises(world.eks.exceptions.ResourceInUseException) as caught:
        world.eks.update_nodegroup_version(clusterName="demo", nodegroupName="main", launchTemplate=template)
    assert caught.value.response["clusterName"] == "demo"
    assert caught.value.response["nodegroupName"] == "main"
    assert "currently has update" in caught.value.response["message"]
    world.until(lambda: world.node_group()["status"] == "ACTIVE")
