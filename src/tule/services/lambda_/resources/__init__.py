"""CloudFormation's resource types, split by what they are about."""
