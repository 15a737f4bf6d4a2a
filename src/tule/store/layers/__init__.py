"""Data models that services share, on top of transactions: documents, queues and tables."""
