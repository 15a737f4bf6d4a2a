"""Creating and updating a stack through a change set, with its events as progress."""

from __future__ import annotations

import re
import threading
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tule.cli.deploy.session import RefusedError
from tule.cli.outcome import Failure
from tule.kernel.randomness import SystemRandom

if TYPE_CHECKING:
    from collections.abc import Callable

    from tule.cli.deploy.session import Session

LOOK_EVERY_S: Final = 0.1
"""Between two looks at a stack that is busy."""

MAX_INLINE_BYTES: Final = 51_200
"""A longer template goes to CloudFormation by S3."""

CAPABILITIES: Final = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
_NO_CHANGES: Final = ("didn't contain changes", "No updates are to be performed")
_URL_ID: Final = re.compile(r"[a-z2-7]{32}")
_PUBLIC_API: Final = re.compile(r"https?://([a-z0-9]+)\.execute-api\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?")


@dataclass(frozen=True, slots=True)
class ApiAddress:
    """Where an API that the stack made is reached on this machine."""

    logical_id: str
    url: str
    path_url: str
    """The same by path, where names under localhost are not resolved."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a deployment led to."""

    stack: str
    stack_id: str
    what: str
    outputs: dict[str, str] = field(default_factory=dict)
    apis: list[ApiAddress] = field(default_factory=list)
    function_urls: list[ApiAddress] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def look_again() -> None:
    """Wait a moment, in a way that Ctrl-C ends."""
    threading.Event().wait(LOOK_EVERY_S)


class Deployment:
    """One deployment of one stack."""

    def __init__(self, session: Session, name: str, say: Callable[[str], None]) -> None:
        self._session = session
        self._name = name
        self._say = say
        self._seen: set[str] = set()
        self._change_set = ""
        self._created = False
        self._executed = False

    def deploy(self, text: str, parameters: dict[str, str], tags: dict[str, str]) -> Outcome:
        """Bring the stack to what the template says; raises `Failure` with the reasons when that fails."""
        stack = self._ready(self.describe())
        self._created = stack is None or stack["StackStatus"] == "REVIEW_IN_PROGRESS"
        self.remember(stack)
        change_set = self._make_change_set(text, parameters, tags, stack)
        if change_set is None:
            found = self.describe()
            assert found is not None, "a stack without changes exists"
            return self._outcome(found, "nothing to change")
        self._executed = True
        self._session.call("cloudformation", "execute_change_set", ChangeSetName=self._change_set)
        final = self.follow()
        status = final["StackStatus"]
        if status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            raise Failure(
                f"Stack {self._name} ended as {status}. {self._reasons()}", "Correct the template and deploy again."
            )
        return self._outcome(final, "created" if self._created else "updated")

    def describe(self) -> dict[str, Any] | None:
        """The stack, or None."""
        try:
            found = self._session.call("cloudformation", "describe_stacks", StackName=self._name)["Stacks"]
        except RefusedError as error:
            if "does not exist" in error.message:
                return None
            raise
        stack: dict[str, Any] = found[0]
        return stack

    def _ready(self, stack: dict[str, Any] | None) -> dict[str, Any] | None:
        """Wait for a stack that is busy; take away what a failed creation left, which holds nothing."""
        if stack is None or stack["StackStatus"] == "REVIEW_IN_PROGRESS":
            return stack
        if stack["StackStatus"].endswith("_IN_PROGRESS"):
            self._say(f"Stack {self._name} is {stack['StackStatus']}; waiting for it")
            self.remember(stack)
            stack = self.follow()
        if stack["StackStatus"] in ("ROLLBACK_COMPLETE", "DELETE_COMPLETE"):
            self._session.call("cloudformation", "delete_stack", StackName=stack["StackId"])
            self.wait_gone(stack["StackId"])
            return None
        return stack

    def _make_change_set(
        self, text: str, parameters: dict[str, str], tags: dict[str, str], stack: dict[str, Any] | None
    ) -> dict[str, Any] | None:
        """A change set that can be executed, or None if there is nothing to change."""
        body: dict[str, Any] = {"TemplateBody": text}
        if len(text.encode()) > MAX_INLINE_BYTES:
            body = {"TemplateURL": self._upload(text)}
        kept = {entry["ParameterKey"] for entry in (stack or {}).get("Parameters", [])} - parameters.keys()
        declared = self._declared(body)
        entries: list[dict[str, Any]] = [
            {"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()
        ]
        entries += [{"ParameterKey": key, "UsePreviousValue": True} for key in sorted(kept & declared)]
        made = self._session.call(
            "cloudformation",
            "create_change_set",
            StackName=self._name,
            ChangeSetName=f"tule-deploy-{SystemRandom().token_hex(8)}",
            ChangeSetType="CREATE" if self._created else "UPDATE",
            Parameters=entries,
            Capabilities=CAPABILITIES,
            **body,
            **({"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]} if tags else {}),
        )
        self._change_set = made["Id"]
        while True:
            found = self._session.call("cloudformation", "describe_change_set", ChangeSetName=self._change_set)
            if found["Status"] == "CREATE_COMPLETE":
                return found
            if found["Status"] == "FAILED":
                break
            look_again()
        self._drop_change_set()
        reason = found.get("StatusReason", "")
        if any(words in reason for words in _NO_CHANGES) and not self._created:
            return None
        raise Failure(f"The template can't be deployed: {reason}", "Nothing was made. Correct it and deploy again.")

    def _declared(self, body: dict[str, Any]) -> set[str]:
        summary = self._session.call("cloudformation", "get_template_summary", **body)
        return {entry["ParameterKey"] for entry in summary.get("Parameters", [])}

    def _upload(self, text: str) -> str:
        bucket = self._session.bucket()
        key = f"{self._name}/{SystemRandom().token_hex(16)}.template"
        self._session.call("s3", "put_object", Bucket=bucket, Key=key, Body=text.encode())
        return f"{self._session.running.url}/{bucket}/{key}"

    def _drop_change_set(self) -> None:
        self._session.call("cloudformation", "delete_change_set", ChangeSetName=self._change_set)
        if self._created:
            self._session.call("cloudformation", "delete_stack", StackName=self._name)

    def interrupted(self) -> str:
        """Clean up after Ctrl-C; says what became of the stack."""
        if not self._change_set:
            return f"Stopped. Stack {self._name} was not touched."
        if not self._executed:
            self._drop_change_set()
            return f"Stopped. Stack {self._name} was not touched."
        if self._created:
            self._session.call("cloudformation", "delete_stack", StackName=self._name)
            return f"Stopped. Stack {self._name}, which was new, is being deleted."
        return f"Stopped watching. Tule goes on with the update of {self._name}; deploy again to see it to its end."

    def follow(self) -> dict[str, Any]:
        """Say events until the stack is at rest; gives the stack."""
        while True:
            stack = self.describe()
            if stack is None:
                return {"StackName": self._name, "StackId": self._name, "StackStatus": "DELETE_COMPLETE"}
            self._say_events(stack["StackId"])
            if not stack["StackStatus"].endswith("_IN_PROGRESS"):
                return stack
            look_again()

    def wait_gone(self, stack_id: str) -> dict[str, Any]:
        """Say events until a stack is deleted, or can't be."""
        while True:
            found: dict[str, Any] = self._session.call("cloudformation", "describe_stacks", StackName=stack_id)[
                "Stacks"
            ][0]
            self._say_events(stack_id)
            if not found["StackStatus"].endswith("_IN_PROGRESS"):
                return found
            look_again()

    def _events(self, stack_id: str) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        token: dict[str, str] = {}
        while True:
            answer = self._session.call("cloudformation", "describe_stack_events", StackName=stack_id, **token)
            events += answer["StackEvents"]
            if "NextToken" not in answer or any(event["EventId"] in self._seen for event in answer["StackEvents"]):
                return events
            token = {"NextToken": answer["NextToken"]}

    def remember(self, stack: dict[str, Any] | None) -> None:
        """Events of earlier operations are not told again."""
        if stack is not None:
            self._seen.update(event["EventId"] for event in self._events(stack["StackId"]))

    def _say_events(self, stack_id: str) -> None:
        for event in reversed(self._events(stack_id)):
            if event["EventId"] in self._seen:
                continue
            self._seen.add(event["EventId"])
            reason = event.get("ResourceStatusReason", "")
            suffix = f"  {reason}" if reason and "nitiated" not in reason else ""
            if event["ResourceStatus"].endswith(("_COMPLETE", "_FAILED", "_SKIPPED")) or suffix:
                self._say(f"  {event['ResourceStatus']:<24} {event['LogicalResourceId']}{suffix}")

    def _reasons(self) -> str:
        """Why resources failed, the first failure first."""
        stack = self.describe()
        if stack is None:
            return ""
        failed = []
        for event in self._events(stack["StackId"]):
            if event["ResourceStatusReason" if "ResourceStatusReason" in event else "EventId"] == "User Initiated":
                break
            if event["ResourceStatus"].endswith("_FAILED") and event["LogicalResourceId"] != self._name:
                failed.append(f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', 'no reason')}")
        return " ".join(reversed(failed))

    def _outcome(self, stack: dict[str, Any], what: str) -> Outcome:
        port = self._session.running.port
        outputs = {
            entry["OutputKey"]: _PUBLIC_API.sub(rf"http://\1.execute-api.localhost:{port}", entry["OutputValue"])
            for entry in stack.get("Outputs", [])
        }
        apis, urls = self._endpoints(stack["StackId"])
        return Outcome(self._name, stack["StackId"], what, outputs, apis, urls)

    def _endpoints(self, stack_id: str) -> tuple[list[ApiAddress], list[ApiAddress]]:
        """(HTTP APIs, function URLs)."""
        pages = (
            self._session.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack_id)
        )
        apis, urls = [], []
        for page in pages:
            for entry in page["StackResourceSummaries"]:
                logical_id, physical_id = entry["LogicalResourceId"], entry.get("PhysicalResourceId", "")
                if entry["ResourceType"] == "AWS::ApiGatewayV2::Api":
                    apis += self._addresses(logical_id, physical_id)
                elif entry["ResourceType"] == "AWS::Lambda::Url":
                    urls.append(self._function_url(logical_id, physical_id))
        return apis, urls

    def _function_url(self, logical_id: str, function_arn: str) -> ApiAddress:
        config = self._session.call("lambda", "get_function_url_config", FunctionName=function_arn)
        url_id = _URL_ID.findall(config["FunctionUrl"])[-1]
        host = f"http://{url_id}.lambda-url.{function_arn.split(':')[3]}.localhost:{self._session.running.port}/"
        return ApiAddress(logical_id, host, f"{self._session.running.url}/_aws/lambda-url/{url_id}/")

    def _addresses(self, logical_id: str, api: str) -> list[ApiAddress]:
        url = self._session.running.url
        port = self._session.running.port
        stages = self._session.call("apigatewayv2", "get_stages", ApiId=api).get("Items", [])
        found = []
        for stage in stages:
            name = stage["StageName"]
            tail = "" if name == "$default" else f"/{name}"
            host = f"http://{api}.execute-api.localhost:{port}{tail}"
            found.append(ApiAddress(logical_id, host, f"{url}/_aws/execute-api/{api}/{name}"))
        return found
