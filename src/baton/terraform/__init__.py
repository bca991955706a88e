"""Find and edit HCL in place, trace values to their literals, judge plans. Must not run Terraform: the engines do."""
