"""Tags of tables."""

import re
from typing import Any, Final

import msgspec

from tule.kernel.arns import Arn
from tule.kernel.errors import AwsError
from tule.services.dynamodb.errors import ResourceNotFoundError, ValidationError
from tule.services.dynamodb.models import OpenTable
from tule.services.dynamodb.state import open_tables, save_table
from tule.store.transaction import ReadTxn, Txn

Request = dict[str, Any]

MAX_TAGS: Final = 50
_TABLE: Final = re.compile(r"table/[a-zA-Z0-9_.-]{3,255}")


def _name(txn: ReadTxn, operation: str, given: str) -> str:
    """The table's name in a ResourceArn of the caller's own account and region."""
    context = txn.context
    arn = Arn.parse(given)
    if arn is None or (arn.service, arn.region, arn.account) != ("dynamodb", context.region, context.account):
        raise AwsError(
            f"User: {context.principal.arn} is not authorized to perform: dynamodb:{operation} on resource: "
            f"{given or '*'}",
            code="AccessDeniedException",
        )
    if _TABLE.fullmatch(arn.resource) is None:
        raise ValidationError(f"Invalid TableArn: Invalid ResourceArn provided as input {given}")
    return arn.resource[6:]


def _missing(given: str) -> ResourceNotFoundError:
    return ResourceNotFoundError(f"Requested resource not found: ResourcArn: {given} not found")


def tag_resource(txn: Txn, request: Request) -> Request:
    name = _name(txn, "TagResource", request["ResourceArn"])
    if not request["Tags"]:
        raise ValidationError("Atleast one Tag needs to be provided as Input.")
    opened = open_tables(txn).latest.get(name)
    if opened is None:
        raise _missing(request["ResourceArn"])
    tags = opened.table.tags | {tag["Key"]: tag["Value"] for tag in request["Tags"]}
    if len(tags) > MAX_TAGS:
        raise ValidationError("One or more parameter values were invalid: Too many tags, at most 50 are allowed")
    save_table(txn, msgspec.structs.replace(opened.table, tags=tags))
    return {}


def untag_resource(txn: Txn, request: Request) -> Request:
    name = _name(txn, "UntagResource", request["ResourceArn"])
    if not request["TagKeys"]:
        raise ValidationError("Atleast one Tag Key needs to be provided as Input.")
    opened: OpenTable | None = open_tables(txn).latest.get(name)
    if opened is None:
        raise ResourceNotFoundError("Requested resource not found")
    tags = {key: value for key, value in opened.table.tags.items() if key not in request["TagKeys"]}
    save_table(txn, msgspec.structs.replace(opened.table, tags=tags))
    return {}


def list_tags_of_resource(txn: ReadTxn, request: Request) -> Request:
    opened = open_tables(txn).committed.get(_name(txn, "ListTagsOfResource", request["ResourceArn"]))
    if opened is None:
        raise _missing(request["ResourceArn"])
    return {"Tags": [{"Key": key, "Value": value} for key, value in opened.table.tags.items()]}
