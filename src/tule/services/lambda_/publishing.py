"""How $LATEST becomes a version that never changes."""

from hashlib import sha256

import msgspec
from msgspec.structs import replace

from tule.services.lambda_ import state
from tule.services.lambda_.lifecycle import CREATING
from tule.services.lambda_.models import Function, Status
from tule.store.transaction import Txn


def content(function: Function) -> str:
    """A digest of a function's code and configuration: what tells whether there is anything new to publish."""
    relevant = replace(
        function, version="", revision="", modified_ms=0, created_ms=0, status=Status(), tags={},
        reserved_concurrency=None, code_signing_arn="", origin="",
    )  # fmt: skip
    return sha256(msgspec.msgpack.encode(relevant)).hexdigest()


def publish(
    txn: Txn, latest: Function, *, description: str | None, revision: str, modified_ms: int, status: Status
) -> Function:
    """The version that $LATEST is now: a new one, or the last one where nothing has changed since.

    AWS: "Lambda doesn't publish a version if the function's configuration and code haven't changed since the last
    version." With SnapStart a version is active when its snapshot is taken.
    """
    digest = content(latest)
    number = state.last_published(txn)
    last = state.read_version(txn, str(number)) if number else None
    if last is not None and last.origin == digest:
        return last
    version = replace(
        latest,
        version=str(number + 1),
        description=latest.description if description is None else description,
        revision=revision,
        modified_ms=modified_ms,
        status=CREATING if latest.snap_start else status,
        origin=digest,
    )
    state.publish(txn, version)
    return version
