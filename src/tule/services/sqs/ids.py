"""Message ids."""

from tule.store.transaction import Txn


def message_id(txn: Txn) -> str:
    """A version 4 UUID from the transaction's randomness."""
    digits = txn.random(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
