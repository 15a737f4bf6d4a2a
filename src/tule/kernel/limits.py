"""Limits that more than one layer must agree on. A service's own limits stand in its own folder.

Each line says where the number comes from: AWS's documentation or model, a measurement, or a choice of ours.
"""

MAX_HEADER_BYTES = 64 * 1024
"""All header lines of a request (ours; leaves room for presigned URLs with session tokens)."""

MAX_BUFFERED_BODY_BYTES = 80 * 1024 * 1024
"""The largest body held in memory: Lambda's CreateFunction request, 70,167,211 bytes, fits (aws_errors: lambda)."""

MAX_CONNECTIONS = 10_000
"""Open client connections to one listener (ours; a process may have 65,536 files)."""

HEADER_TIMEOUT_S = 20.0
"""From a connection's first byte of a request to the end of its head (ours; nginx has 60)."""

IDLE_TIMEOUT_S = 350.0
"""A kept-alive connection without a request (AWS's load balancers keep 350 s)."""

MAX_KEY_BYTES = 2_500
"""An encoded key of the store, its shard's part included (the store's design)."""

MAX_BATCH_BYTES = 32 * 1024 * 1024
"""The values one transaction may write; BatchWriteItem's 16 MiB with its indexes fits."""

MAX_WAITING_BYTES = 64 * 1024 * 1024
"""What may wait for the writer before sockets pause and then callers are throttled."""

MAX_WAITING_S = 1.0
"""How long the oldest waiting batch may be before the same happens."""
