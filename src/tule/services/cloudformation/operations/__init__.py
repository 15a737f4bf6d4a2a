"""CloudFormation's operations, by noun."""
