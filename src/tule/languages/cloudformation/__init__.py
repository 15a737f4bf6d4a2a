"""CloudFormation's template language: parsing, checking, conditions, functions and the order of resources. No I/O."""
