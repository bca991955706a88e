# A small cluster with what an upgrade touches: add-ons that follow the version, a launch template with a golden AMI,
# a managed node group on it. It would run against AWS as it is.

terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.40"
    }
  }
}

provider "aws" {
  default_tags {
    tags = { ManagedBy = "terraform" }
  }
}

variable "cluster_version" {
  type    = string
  default = "1.34"
}

variable "ami_name" {
  type    = string
  default = "golden-eks-1.34-*"
}

variable "max_unavailable" {
  type    = number
  default = 1
}

variable "instance_type" {
  type    = string
  default = "m5.large"
}

variable "coredns_version" {
  description = "empty: the default of the cluster version"
  type        = string
  default     = ""
}

data "aws_availability_zones" "available" {
  state = "available"
}

data "aws_caller_identity" "current" {}

data "aws_ami" "golden" {
  owners      = ["self"]
  most_recent = true

  filter {
    name   = "name"
    values = [var.ami_name]
  }
}

resource "aws_vpc" "main" {
  cidr_block           = "10.20.0.0/16"
  enable_dns_hostnames = true
  tags                 = { Name = "demo" }
}

resource "aws_internet_gateway" "main" {
  vpc_id = aws_vpc.main.id
}

resource "aws_subnet" "nodes" {
  count             = 3
  vpc_id            = aws_vpc.main.id
  cidr_block        = cidrsubnet(aws_vpc.main.cidr_block, 4, count.index)
  availability_zone = data.aws_availability_zones.available.names[count.index]
  tags              = { "kubernetes.io/role/internal-elb" = "1" }
}

resource "aws_route_table" "nodes" {
  vpc_id = aws_vpc.main.id

  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.main.id
  }
}

resource "aws_route_table_association" "nodes" {
  count          = 3
  subnet_id      = aws_subnet.nodes[count.index].id
  route_table_id = aws_route_table.nodes.id
}

resource "aws_security_group" "cluster" {
  name_prefix = "demo-cluster-"
  vpc_id      = aws_vpc.main.id

  egress {
    from_port   = 0
    to_port     = 0
    protocol    = "-1"
    cidr_blocks = ["0.0.0.0/0"]
  }
}

data "aws_iam_policy_document" "assume" {
  for_each = toset(["eks", "ec2"])

  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["${each.key}.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "cluster" {
  name               = "demo-cluster"
  assume_role_policy = data.aws_iam_policy_document.assume["eks"].json
}

resource "aws_iam_role_policy_attachment" "cluster" {
  role       = aws_iam_role.cluster.name
  policy_arn = "arn:aws:iam::aws:policy/AmazonEKSClusterPolicy"
}

resource "aws_iam_role" "nodes" {
  name               = "demo-nodes"
  assume_role_policy = data.aws_iam_policy_document.assume["ec2"].json
}

resource "aws_iam_role_policy_attachment" "nodes" {
  for_each   = toset(["AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_Policy", "AmazonEC2ContainerRegistryReadOnly"])
  role       = aws_iam_role.nodes.name
  policy_arn = "arn:aws:iam::aws:policy/${each.key}"
}

resource "aws_kms_key" "secrets" {
  description             = "Kubernetes secrets of demo"
  deletion_window_in_days = 7
}

resource "aws_cloudwatch_log_group" "cluster" {
  name              = "/aws/eks/demo/cluster"
  retention_in_days = 7
}

resource "aws_eks_cluster" "main" {
  name                      = "demo"
  role_arn                  = aws_iam_role.cluster.arn
  version                   = var.cluster_version
  enabled_cluster_log_types = ["api", "audit"]

  access_config {
    authentication_mode                         = "API_AND_CONFIG_MAP"
    bootstrap_cluster_creator_admin_permissions = true
  }

  vpc_config {
    subnet_ids              = aws_subnet.nodes[*].id
    security_group_ids      = [aws_security_group.cluster.id]
    endpoint_private_access = true
  }

  encryption_config {
    resources = ["secrets"]

    provider {
      key_arn = aws_kms_key.secrets.arn
    }
  }

  tags       = { Environment = "test" }
  depends_on = [aws_iam_role_policy_attachment.cluster, aws_cloudwatch_log_group.cluster]
}

resource "aws_ec2_tag" "cluster_security_group" {
  resource_id = aws_eks_cluster.main.vpc_config[0].cluster_security_group_id
  key         = "Team"
  value       = "platform"
}

resource "aws_eks_access_entry" "readers" {
  cluster_name  = aws_eks_cluster.main.name
  principal_arn = "arn:aws:iam::${data.aws_caller_identity.current.account_id}:role/readers"
}

resource "aws_eks_access_policy_association" "readers" {
  cluster_name  = aws_eks_cluster.main.name
  principal_arn = aws_eks_access_entry.readers.principal_arn
  policy_arn    = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"

  access_scope {
    type = "cluster"
  }
}

data "aws_eks_addon_version" "default" {
  for_each           = toset(["coredns", "kube-proxy", "vpc-cni"])
  addon_name         = each.key
  kubernetes_version = aws_eks_cluster.main.version
}

resource "aws_eks_addon" "vpc_cni" {
  cluster_name                = aws_eks_cluster.main.name
  addon_name                  = "vpc-cni"
  addon_version               = data.aws_eks_addon_version.default["vpc-cni"].version
  resolve_conflicts_on_create = "OVERWRITE"
  resolve_conflicts_on_update = "OVERWRITE"
}

resource "aws_eks_addon" "others" {
  for_each                    = toset(["coredns", "kube-proxy"])
  cluster_name                = aws_eks_cluster.main.name
  addon_name                  = each.key
  addon_version               = each.key == "coredns" && var.coredns_version != "" ? var.coredns_version : data.aws_eks_addon_version.default[each.key].version
  resolve_conflicts_on_update = "PRESERVE"
  depends_on                  = [aws_eks_node_group.main]
}

resource "aws_launch_template" "main" {
  name_prefix            = "demo-main-"
  image_id               = data.aws_ami.golden.image_id
  instance_type          = var.instance_type
  update_default_version = true

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_size           = 50
      volume_type           = "gp3"
      delete_on_termination = true
    }
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 2
  }

  tag_specifications {
    resource_type = "instance"
    tags          = { Name = "demo-main" }
  }

  user_data = base64encode("#!/bin/bash\n/etc/eks/bootstrap.sh ${aws_eks_cluster.main.name}\n")
}

resource "aws_eks_node_group" "main" {
  cluster_name    = aws_eks_cluster.main.name
  node_group_name = "main"
  node_role_arn   = aws_iam_role.nodes.arn
  subnet_ids      = aws_subnet.nodes[*].id
  ami_type        = "CUSTOM"

  launch_template {
    id      = aws_launch_template.main.id
    version = aws_launch_template.main.default_version
  }

  scaling_config {
    min_size     = 3
    max_size     = 6
    desired_size = 3
  }

  update_config {
    max_unavailable = var.max_unavailable
  }

  labels = { pool = "main" }

  lifecycle {
    create_before_destroy = true
    ignore_changes        = [scaling_config[0].desired_size]
  }

  depends_on = [aws_iam_role_policy_attachment.nodes]
}

output "ami" {
  value = data.aws_ami.golden.image_id
}

output "endpoint" {
  value = aws_eks_cluster.main.endpoint
}

output "addons" {
  value = { for name, addon in merge(aws_eks_addon.others, { vpc-cni = aws_eks_addon.vpc_cni }) : name => addon.addon_version }
}
