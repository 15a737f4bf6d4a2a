"""DynamoDB's errors, and how the language's refusals become them."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from tule.kernel.errors import AwsError
from tule.languages.dynamodb.refusals import INVALID_PARAMETERS, Refusal, WrongShape

P = ParamSpec("P")
R = TypeVar("R")

ENVELOPE: Final = "1 validation error detected: "


class ValidationError(AwsError):
    code = "ValidationException"


class SerializationError(AwsError):
    """A body whose JSON types are not the model's."""

    code = "SerializationException"


class ResourceNotFoundError(AwsError):
    code = "ResourceNotFoundException"


class ResourceInUseError(AwsError):
    code = "ResourceInUseException"


class LimitExceededError(AwsError):
    code = "LimitExceededException"


class ConditionalCheckFailedError(AwsError):
    code = "ConditionalCheckFailedException"

    def __init__(self, item: Any = None) -> None:
        members: Mapping[str, Any] = {} if item is None else {"Item": item}
        super().__init__("The conditional request failed", members=members)


class TransactionCanceledError(AwsError):
    code = "TransactionCanceledException"


class IdempotentParameterMismatchError(AwsError):
    code = "IdempotentParameterMismatchException"


def invalid(message: str) -> ValidationError:
    """A ValidationException whose text begins "One or more parameter values were invalid: "."""
    return ValidationError(INVALID_PARAMETERS + message)


def table_missing(name: str = "") -> ResourceNotFoundError:
    """The data plane names no table, the control plane does."""
    return ResourceNotFoundError(
        f"Requested resource not found: Table: {name} not found" if name else "Requested resource not found"
    )


def enveloped(refusal: Refusal) -> str:
    """PutItem, UpdateItem and DeleteItem print the current texts in an envelope, some families excepted."""
    return refusal.message if refusal.bare else ENVELOPE + refusal.message


def current(refusal: Refusal) -> str:
    """GetItem, BatchGetItem and Query print the current texts as they are."""
    return refusal.message


def older(refusal: Refusal) -> str:
    """BatchWriteItem, Scan and the transactions still print the older texts."""
    return refusal.older


def refusing(dress: Callable[[Refusal], str]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A handler whose refusals are told in the texts of its operation."""

    def decorate(handler: Callable[P, R]) -> Callable[P, R]:
        @wraps(handler)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return handler(*args, **kwargs)
            except Refusal as refusal:
                raise ValidationError(dress(refusal)) from None
            except WrongShape as shape:
                raise SerializationError(str(shape)) from None

        return run

    return decorate
