"""IAM's handlers, one module a noun."""
