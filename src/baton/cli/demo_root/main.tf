# The cluster "demo", written as teams write it at home. Nothing here knows of an emulator: the AWS_* variables of the
# shell decide what it runs against.

locals {
  name = "demo"

  tags = {
    Environment = "demo"
    Team        = "platform"
  }
}

# Our own image, built by the image pipeline once per Kubernetes version.
data "aws_ami" "golden" {
  most_recent = true
  owners      = ["self"]

  filter {
    name   = "name"
    values = ["golden-eks-1.34-*"]
  }
}

module "vpc" {
  source = "./modules/vpc"

  name = local.name
  cidr = "10.0.0.0/16"
  azs  = ["us-east-1a", "us-east-1b", "us-east-1c"]
  tags = local.tags
}

module "eks" {
  source = "./modules/eks"

  cluster_name    = local.name
  cluster_version = "1.34"

  vpc_id     = module.vpc.vpc_id
  subnet_ids = module.vpc.subnet_ids

  cluster_addons = {
    coredns = {}
    kube-proxy = {
      before_compute = true
    }
    vpc-cni = {
      before_compute = true # nodes are not Ready without it
    }
  }

  eks_managed_node_groups = {
    main = {
      ami_type       = "CUSTOM"
      ami_id         = data.aws_ami.golden.image_id
      instance_types = ["m6i.large"]

      min_size     = 3
      desired_size = 3
      max_size     = 6

      # One node away at a time: with three nodes, two always stay up.
      update_config = {
        max_unavailable = 1
      }
    }
  }

  tags = local.tags
}
