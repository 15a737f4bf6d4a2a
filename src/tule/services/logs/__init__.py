"""CloudWatch Logs: groups, streams and events, function output among them."""
