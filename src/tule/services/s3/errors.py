"""S3's refusals, in S3's words."""

from typing import Any

from tule.kernel.errors import AwsError


def refuse(code: str, message: str, status: int = 400, **members: Any) -> AwsError:
    """An S3 error; `members` become elements of the answer beside Code and Message."""
    return AwsError(message, code=code, status=status, members=members)


def no_such_bucket(name: str) -> AwsError:
    return refuse("NoSuchBucket", "The specified bucket does not exist", 404, BucketName=name)


def no_such_key(key: str) -> AwsError:
    return refuse("NoSuchKey", "The specified key does not exist.", 404, Key=key)


def no_such_version(key: str, version_id: str) -> AwsError:
    return refuse("NoSuchVersion", "The specified version does not exist.", 404, Key=key, VersionId=version_id)


def no_such_upload(upload_id: str) -> AwsError:
    return refuse(
        "NoSuchUpload",
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or "
        "completed.",
        404,
        UploadId=upload_id,
    )


def precondition_failed(condition: str) -> AwsError:
    return refuse(
        "PreconditionFailed", "At least one of the pre-conditions you specified did not hold", 412, Condition=condition
    )


def invalid_argument(message: str, name: str, value: str) -> AwsError:
    return refuse("InvalidArgument", message, 400, ArgumentName=name, ArgumentValue=value)
