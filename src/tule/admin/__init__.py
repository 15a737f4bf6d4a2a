"""The admin API under /_tule/v1, described by OpenAPI: the only door for the command line and tests."""
