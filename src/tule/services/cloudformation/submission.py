"""From a request to a definition that may be deployed: fetch, transform, check. Nothing is written here."""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from tule.kernel.errors import AwsError
from tule.languages.cloudformation.checking import check
from tule.languages.cloudformation.functions import evaluate_conditions
from tule.languages.cloudformation.graph import dependencies, in_order
from tule.languages.cloudformation.parameters import check_declarations, patterns, settle, values_of
from tule.languages.cloudformation.parsing import MAX_INLINE_BYTES, MAX_TEMPLATE_BYTES, Document, parse
from tule.languages.cloudformation.template import SAM_TRANSFORM, Template, read_template
from tule.runtime.worker import WorkerError
from tule.services.cloudformation.errors import InsufficientCapabilitiesError, ValidationError
from tule.services.cloudformation.models import TemplateText
from tule.services.cloudformation.types import check_types
from tule.services.declaration import Context, Environment

KEPT_TRANSFORMS = 32
"""Transformed templates in memory (ours): a deploy asks for the same one three times."""

TRANSFORM_TIME_S = 60.0
"""For a transform, with the translator's start (ours; it takes half a second)."""

MATCHING_TIME_S = 5.0
"""For all patterns of a request (ours); an expression that runs away ends there."""

_NAMED_IAM = {
    "AWS::IAM::Group": "GroupName",
    "AWS::IAM::InstanceProfile": "InstanceProfileName",
    "AWS::IAM::ManagedPolicy": "ManagedPolicyName",
    "AWS::IAM::Role": "RoleName",
    "AWS::IAM::User": "UserName",
}
_IAM = frozenset({*_NAMED_IAM, "AWS::IAM::AccessKey", "AWS::IAM::Policy", "AWS::IAM::UserToGroupAddition"})


class TransformError(ValidationError):
    """The transform refused the template; a change set fails with these words."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A template with its parameters, ready to be compared with what exists."""

    text: TemplateText
    template: Template
    """As processed."""
    parameters: dict[str, str]
    hidden: list[str]
    transforms: tuple[str, ...]

    @property
    def capability(self) -> str:
        """What a caller must acknowledge, or ""."""
        return needed_capability(self.template)[0]


@dataclass(frozen=True, slots=True)
class Compiled:
    """A template whose conditions are known."""

    template: Template
    parameters: Mapping[str, Any]
    pseudo: Mapping[str, Any]
    conditions: dict[str, bool]
    needs: dict[str, set[str]]
    """For each included resource, what it needs."""

    @property
    def order(self) -> list[str]:
        return in_order(self.needs)


async def template_body(ctx: Context, request: Mapping[str, Any], previous: str | None) -> str:
    """The text a request gives, by whichever of its three ways."""
    body, url = request.get("TemplateBody"), request.get("TemplateURL")
    ways = [way for way in (body, url, request.get("UsePreviousTemplate")) if way]
    if len(ways) > 1:
        raise ValidationError(
            "You cannot specify more than one of Template URL, Template Body and Use Previous Template."
        )
    if body:
        if len(body.encode()) > MAX_INLINE_BYTES:
            raise ValidationError(
                f"1 validation error detected: Value at 'templateBody' failed to satisfy constraint: Member must have "
                f"length less than or equal to {MAX_INLINE_BYTES}"
            )
        return str(body)
    if url:
        return await _from_s3(ctx, url)
    if ways and previous is not None:
        return previous
    raise ValidationError("Either Template URL or Template Body must be specified.")


async def _from_s3(ctx: Context, url: str) -> str:
    bucket, key, version = s3_location(url, urlsplit(ctx.request.base_url).hostname or "")
    asked = {"Bucket": bucket, "Key": key} | ({"VersionId": version} if version else {})
    try:
        found = await ctx.aws.s3.get_object(**asked)
    except AwsError as error:
        raise ValidationError(f"S3 error: {error.message}") from None
    data = await _whole(found["Body"])
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ValidationError("Template format error: the template is not UTF-8 text.") from None


async def _whole(body: Any) -> bytes:
    if isinstance(body, (bytes, bytearray)):
        data = bytes(body)
    else:
        data = b""
        async for chunk in body:
            data += chunk
            if len(data) > MAX_TEMPLATE_BYTES:
                break
    if len(data) > MAX_TEMPLATE_BYTES:
        raise ValidationError(f"Template may not exceed {MAX_TEMPLATE_BYTES} bytes in size.")
    return data


def s3_location(url: str, own_host: str) -> tuple[str, str, str]:
    """Bucket, key and version of a TemplateURL: AWS's two styles of address, or Tule's own."""
    parts = urlsplit(url)
    host, path = parts.hostname or "", unquote(parts.path).lstrip("/")
    if parts.scheme == "s3":
        bucket, key = host, path
    elif parts.scheme not in ("http", "https"):
        raise ValidationError("TemplateURL must be a supported URL.")
    elif _is_endpoint(host, own_host):
        bucket, _, key = path.partition("/")
    else:
        bucket, _, rest = host.partition(".s3")
        key = path
        if not rest or rest[0] not in ".-":
            raise ValidationError(f"S3 error: Domain name specified in {host.split('.')[0]} is not a valid S3 domain")
    if not bucket or not key:
        raise ValidationError("TemplateURL must be a supported URL.")
    version = next((part[10:] for part in parts.query.split("&") if part.startswith("versionId=")), "")
    return bucket, key, version


def _is_endpoint(host: str, own_host: str) -> bool:
    """Whether a host is an S3 endpoint itself, so that the bucket stands in the path."""
    if host in ("localhost", "127.0.0.1", "::1", own_host):
        return True
    return host.startswith(("s3.", "s3-")) and host.endswith((".amazonaws.com", ".amazonaws.com.cn", "localhost"))


async def read(text: str) -> Document:
    """Parse a template; big ones beside the loop."""
    return await asyncio.to_thread(parse, text) if len(text) > MAX_INLINE_BYTES else parse(text)


async def submit(ctx: Context, body: str, given: Mapping[str, str]) -> Submission:
    """Read, transform and check a template with the parameter values a request gives."""
    document = await read(body)
    transforms = declared_transforms(document)
    parameters = document.value.get("Parameters", {})
    if not isinstance(parameters, dict) or not all(isinstance(entry, dict) for entry in parameters.values()):
        raise ValidationError("Template format error: Every Parameters member must be an object.")
    check_declarations(parameters)
    settled = settle(parameters, given)
    await _match(ctx.env, parameters, settled)
    processed = ""
    if transforms:
        value = await _transform(ctx, document, values_of(parameters, settled))
        processed = msgspec.json.encode(value).decode()
        document = Document(value, document.lines)
    template = read_template(document)
    check(template)
    hidden = [name for name, entry in parameters.items() if str(entry.get("NoEcho", "")).lower() == "true"]
    return Submission(TemplateText(original=body, processed=processed), template, settled, hidden, transforms)


def declared_transforms(document: Document) -> tuple[str, ...]:
    """The transforms of a template, refusing by name what Tule can't apply."""
    value = document.value.get("Transform")
    if value is None:
        return ()
    names = []
    for entry in value if isinstance(value, list) else [value]:
        name = entry.get("Name") if isinstance(entry, dict) else entry
        if not isinstance(name, str):
            raise ValidationError("Key Name of transform definition must be a string.")
        if name != SAM_TRANSFORM:
            raise ValidationError(
                f"Tule does not implement transform {name} yet{document.where('Transform')}; it applies "
                f"{SAM_TRANSFORM} alone."
            )
        names.append(name)
    return tuple(names)


async def _work(env: Environment, entry: str, payload: Any, time_limit_s: float) -> Any:
    """Run a function of `sam` in `tule-worker`."""
    from tule.runtime.worker import Worker

    worker: Worker = env.state.setdefault("worker", Worker(env.machine))
    return await worker.call(f"tule.services.cloudformation.sam:{entry}", payload, time_limit_s=time_limit_s)


async def _match(env: Environment, parameters: Mapping[str, Any], settled: Mapping[str, str]) -> None:
    """Match values against patterns that users wrote, where a runaway expression can't hold up the loop."""
    checks = patterns(parameters, settled)
    if not checks:
        return
    pairs = [[check.pattern, check.value] for check in checks]
    try:
        failed: Sequence[int] = await _work(env, "match_patterns", pairs, MATCHING_TIME_S)
    except WorkerError as error:
        names = ", ".join(dict.fromkeys(check.name for check in checks))
        raise ValidationError(f"The AllowedPattern of [{names}] could not be matched: {error}") from None
    if failed:
        raise ValidationError(checks[failed[0]].message)


async def _transform(ctx: Context, document: Document, parameters: Mapping[str, Any]) -> dict[str, Any]:
    _refuse_applications(document)
    payload = {
        "template": document.value,
        "parameters": dict(parameters),
        "region": ctx.request.region,
        "partition": ctx.request.partition,
    }
    cache: OrderedDict[str, bytes] = ctx.env.state.setdefault("transforms", OrderedDict())
    digest = sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()
    if digest in cache:
        cache.move_to_end(digest)
        kept: dict[str, Any] = msgspec.json.decode(cache[digest])
        return kept
    try:
        answer = await _work(ctx.env, "transform", payload, TRANSFORM_TIME_S)
    except WorkerError as error:
        raise TransformError(f"Transform {SAM_TRANSFORM} failed with: {error}") from None
    if "errors" in answer:
        raise TransformError(f"Transform {SAM_TRANSFORM} failed with: {answer['errors']}")
    value: dict[str, Any] = answer["template"]
    value.pop("Transform", None)
    value.pop("Globals", None)
    cache[digest] = msgspec.json.encode(value)
    if len(cache) > KEPT_TRANSFORMS:
        cache.popitem(last=False)
    return value


def _refuse_applications(document: Document) -> None:
    resources = document.value.get("Resources", {})
    for logical_id, body in resources.items() if isinstance(resources, dict) else ():
        if isinstance(body, dict) and body.get("Type") == "AWS::Serverless::Application":
            where = document.where("Resources", logical_id)
            raise ValidationError(f"Tule does not offer AWS::Serverless::Application yet: {logical_id}{where}.")


def pseudo_parameters(ctx_account: str, region: str, partition: str, stack_name: str, stack_id: str) -> dict[str, Any]:
    """What the pseudo parameters stand for."""
    return {
        "AWS::AccountId": ctx_account,
        "AWS::NotificationARNs": [],
        "AWS::Partition": partition,
        "AWS::Region": region,
        "AWS::StackId": stack_id,
        "AWS::StackName": stack_name,
        "AWS::URLSuffix": "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com",
    }


def compile_template(template: Template, parameters: Mapping[str, str], pseudo: Mapping[str, Any]) -> Compiled:
    """Settle the conditions and the order; refuses circles and references to what is left out."""
    values = values_of(
        template.parameters, {name: parameters[name] for name in template.parameters if name in parameters}
    )
    conditions = evaluate_conditions(template, values, pseudo)
    return Compiled(template, values, pseudo, conditions, dependencies(template, conditions))


def check_offered(compiled: Compiled) -> None:
    """Refuse what no service offers."""
    check_types(compiled.template, compiled.needs)


def needed_capability(template: Template) -> tuple[str, str]:
    """The capability to acknowledge, and why."""
    kinds = [resource.type for resource in template.resources.values() if resource.type in _IAM]
    if not kinds:
        return "", ""
    named = any(_NAMED_IAM.get(entry.type) in entry.properties for entry in template.resources.values())
    reason = f"The following resource(s) require capabilities: [{', '.join(sorted(set(kinds)))}]"
    return ("CAPABILITY_NAMED_IAM" if named else "CAPABILITY_IAM"), reason


def check_capabilities(submission: Submission, given: Sequence[str], *, direct: bool) -> None:
    """Refuse what the caller has not acknowledged. `direct` is without a change set, where transforms count too."""
    if direct and submission.transforms and "CAPABILITY_AUTO_EXPAND" not in given:
        raise InsufficientCapabilitiesError("CAPABILITY_AUTO_EXPAND")
    needed = submission.capability
    sufficient = {"": True, "CAPABILITY_IAM": "CAPABILITY_IAM" in given or "CAPABILITY_NAMED_IAM" in given}
    if not sufficient.get(needed, needed in given):
        raise InsufficientCapabilitiesError(needed)
