"""DynamoDB's operations, by what they act on."""
