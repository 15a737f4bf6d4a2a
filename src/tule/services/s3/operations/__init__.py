"""S3's handlers, one module a noun."""
