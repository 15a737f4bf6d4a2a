"""What SQS says when it refuses. Codes are the names of the model's shapes; the wire layer knows their older codes."""

from typing import Any

from tule.kernel.errors import AwsError


def no_such_queue() -> AwsError:
    return AwsError("The specified queue does not exist.", code="QueueDoesNotExist")


def invalid_parameter(message: str) -> AwsError:
    return AwsError(message, code="InvalidParameterValue")


def invalid_value(value: Any, parameter: str, reason: str) -> AwsError:
    """The commonest sentence of SQS."""
    return invalid_parameter(f"Value {value} for parameter {parameter} is invalid. Reason: {reason}")


def missing_parameter(name: str) -> AwsError:
    return AwsError(f"The request must contain the parameter {name}.", code="MissingParameter")


def invalid_attribute_name(message: str) -> AwsError:
    return AwsError(message, code="InvalidAttributeName")


def invalid_attribute_value(name: str, reason: str = "") -> AwsError:
    tail = f" Reason: {reason}" if reason else ""
    return AwsError(f"Invalid value for the parameter {name}.{tail}", code="InvalidAttributeValue")


def invalid_receipt(handle: str) -> AwsError:
    message = f'The input receipt handle "{handle}" is not a valid receipt handle.'
    return AwsError(message, code="ReceiptHandleIsInvalid")
