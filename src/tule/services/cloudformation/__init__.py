"""CloudFormation: stacks, change sets, and the engine that makes a template's resources real."""
