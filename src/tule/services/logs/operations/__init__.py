"""Logs' handlers, one module a noun."""
