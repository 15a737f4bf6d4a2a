"""boto3 clients of one Tule, and the bucket that packages go to."""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from tule.cli.outcome import Failure

if TYPE_CHECKING:
    from pathlib import Path

    from tule.cli.running import Running


class Session:
    """What the commands that deploy need of AWS's APIs."""

    def __init__(self, running: Running) -> None:
        import boto3
        from botocore.config import Config

        self.running = running
        pair = running.admin("GET", "credentials")
        keys = {"aws_access_key_id": pair["access_key_id"], "aws_secret_access_key": pair["secret_access_key"]}
        if os.environ.get("AWS_ACCESS_KEY_ID") or os.environ.get("AWS_PROFILE"):
            keys = {}  # somebody else's cloud on this Tule is meant
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or running.region
        self._session: Any = boto3.session.Session(region_name=region, **keys)
        self._config = Config(retries={"max_attempts": 2, "mode": "standard"}, s3={"addressing_style": "path"})
        self.region = region
        self._bucket = ""
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self._session.client(service, endpoint_url=self.running.url, config=self._config)
        return self._clients[service]

    def call(self, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
        """Call an operation; its refusal is a `Failure` in the service's words."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer: dict[str, Any] = getattr(self.client(service), operation)(**arguments)
        except ClientError as error:
            code, message = error.response["Error"].get("Code", "Error"), error.response["Error"].get("Message", "")
            raise RefusedError(service, operation, code, message) from error
        except BotoCoreError as error:
            raise Failure(
                f"{service} {operation} failed: {error}", "`tule status` says whether Tule is there."
            ) from error
        return answer

    def bucket(self) -> str:
        """The bucket for packages, made when first asked for."""
        if not self._bucket:
            account = self.call("sts", "get_caller_identity")["Account"]
            name = f"tule-deploy-{account}-{self.region}"
            where = {} if self.region == "us-east-1" else {
                "CreateBucketConfiguration": {"LocationConstraint": self.region}
            }  # fmt: skip
            try:
                self.call("s3", "create_bucket", Bucket=name, **where)
            except RefusedError as error:
                if error.code != "BucketAlreadyOwnedByYou":
                    raise
            self._bucket = name
        return self._bucket

    def upload(self, stack: str, file: Path, suffix: str) -> tuple[str, str]:
        """Bucket and key of a file's content; what is there already is not sent again."""
        data = file.read_bytes()
        bucket, key = self.bucket(), f"{stack}/{sha256(data).hexdigest()}{suffix}"
        try:
            self.call("s3", "head_object", Bucket=bucket, Key=key)
        except RefusedError:
            self.call("s3", "put_object", Bucket=bucket, Key=key, Body=data)
        return bucket, key


class RefusedError(Failure):
    """A service's refusal."""

    def __init__(self, service: str, operation: str, code: str, message: str) -> None:
        super().__init__(f"{service} {operation} refused: {message or code} ({code})")
        self.code = code
        self.message = message
