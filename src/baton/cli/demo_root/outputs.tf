output "cluster_name" {
  value = module.eks.cluster_name
}

output "cluster_version" {
  value = module.eks.cluster_version
}

output "golden_ami" {
  value = data.aws_ami.golden.name
}
