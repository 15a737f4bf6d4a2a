"""Shards over an ordered key-value store: transactions, group commit, outbox, due times, layers and blobs."""

from tule.store.backend import StoreUnusableError
from tule.store.engine import Engine
from tule.store.format import StoreFormatError
from tule.store.memory import MemoryBackend
from tule.store.opening import DirectoryInUseError, open_store
from tule.store.sqlite import SqliteBackend

__all__ = [
    "DirectoryInUseError",
    "Engine",
    "MemoryBackend",
    "SqliteBackend",
    "StoreFormatError",
    "StoreUnusableError",
    "open_store",
]
