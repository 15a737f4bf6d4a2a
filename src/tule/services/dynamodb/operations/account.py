"""What is asked about the account, the endpoint and backups."""

from typing import Any

from tule.services.dynamodb.operations.tables import to_read
from tule.store.transaction import ReadTxn

Request = dict[str, Any]


def describe_limits(_txn: ReadTxn, _request: Request) -> Request:
    """AWS's default quotas, which Tule doesn't enforce."""
    return {
        "AccountMaxReadCapacityUnits": 80_000,
        "AccountMaxWriteCapacityUnits": 80_000,
        "TableMaxReadCapacityUnits": 40_000,
        "TableMaxWriteCapacityUnits": 40_000,
    }


def describe_endpoints(txn: ReadTxn, _request: Request) -> Request:
    """The address the caller came by: clients go there from now on."""
    address = txn.context.base_url.partition("//")[2]
    return {"Endpoints": [{"Address": address, "CachePeriodInMinutes": 1440}]}


def describe_continuous_backups(txn: ReadTxn, request: Request) -> Request:
    """Backups are ENABLED on every table of AWS, point-in-time recovery is off until it is asked for."""
    to_read(txn, request["TableName"])
    return {
        "ContinuousBackupsDescription": {
            "ContinuousBackupsStatus": "ENABLED",
            "PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "DISABLED"},
        }
    }
