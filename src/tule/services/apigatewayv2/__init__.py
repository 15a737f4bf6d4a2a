"""Amazon API Gateway v2: HTTP APIs."""
