"""Shards over an ordered key-value store: transactions, group commit, outbox, due times, layers and blobs."""
