"""Spans, logs, metrics, the ledger, metering and prices."""
