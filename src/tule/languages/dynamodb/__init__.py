"""DynamoDB's values and expressions, as pure functions: no tables, no requests, no I/O."""
