"""GetTemplate, GetTemplateSummary and ValidateTemplate."""

from collections.abc import Mapping
from typing import Any

from tule.languages.cloudformation.checking import check
from tule.languages.cloudformation.parameters import check_declarations, default_of, text_of
from tule.languages.cloudformation.parsing import Document
from tule.languages.cloudformation.template import Template, read_template
from tule.services.cloudformation import state
from tule.services.cloudformation.errors import ValidationError
from tule.services.cloudformation.lookup import (
    address,
    change_set_address,
    find,
    find_change_set,
    read,
    refuse_members,
)
from tule.services.cloudformation.models import Stack, TemplateText
from tule.services.cloudformation.submission import declared_transforms, needed_capability, template_body
from tule.services.cloudformation.submission import read as read_text
from tule.services.declaration import Context
from tule.store.transaction import ReadTxn


async def get_template(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    if request.get("ChangeSetName"):
        where, name = await change_set_address(ctx, request)

        def look(txn: ReadTxn) -> TemplateText | None:
            stack, change_set = find_change_set(txn, where, name, request["ChangeSetName"])
            return state.load_template(txn, stack.uuid, change_set.definition.revision)

    elif request.get("StackName"):
        given = request["StackName"]
        where = address(ctx.request, given)

        def look(txn: ReadTxn) -> TemplateText | None:
            stack = find(txn, where)
            if stack is None:
                raise ValidationError(f"Stack with id {given} does not exist")
            return state.load_template(txn, stack.uuid, stack.definition.revision)

    else:
        raise ValidationError("StackName is required if ChangeSetName is not specified.")
    text = await read(ctx, where, look)
    if text is None:
        raise ValidationError(f"Stack {where.name} has no template yet: execute its change set first.")
    processed = request.get("TemplateStage") == "Processed" and text.processed
    return {"TemplateBody": processed or text.original, "StagesAvailable": ["Original", "Processed"]}


async def validate_template(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    document = await read_text(await template_body(ctx, request, None))
    transforms = declared_transforms(document)
    template = _static(document, transforms)
    parameters = [
        {
            "ParameterKey": name,
            "NoEcho": _no_echo(declaration),
            "Description": str(declaration.get("Description", "")),
        }
        | ({"DefaultValue": default} if (default := default_of(declaration)) is not None else {})
        for name, declaration in template.parameters.items()
    ]
    answer: dict[str, Any] = {"Parameters": parameters, "Description": template.description}
    return answer | _capabilities(template, transforms)


def _static(document: Document, transforms: tuple[str, ...]) -> Template:
    """Check what can be checked without applying a transform."""
    if not transforms:
        template = read_template(document)
        check(template)
        return template
    bare = {name: value for name, value in document.value.items() if name not in ("Transform", "Globals")}
    template = read_template(Document(bare, document.lines))
    check_declarations(template.parameters)
    return template


def _no_echo(declaration: Mapping[str, Any]) -> bool:
    return str(declaration.get("NoEcho", "")).lower() == "true"


def _capabilities(template: Template, transforms: tuple[str, ...]) -> dict[str, Any]:
    capability, reason = needed_capability(template)
    found = [capability] if capability else []
    answer: dict[str, Any] = {"Capabilities": found}
    if transforms:
        answer["Capabilities"] = [*found, "CAPABILITY_AUTO_EXPAND"]
        answer["DeclaredTransforms"] = list(transforms)
        reason = reason or f"The following resource(s) require capabilities: [{', '.join(transforms)}]"
    if reason:
        answer["CapabilitiesReason"] = reason
    return answer


async def get_template_summary(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    refuse_members("GetTemplateSummary", request, "StackSetName", "CallAs", "TemplateSummaryConfig")
    body = await template_body(ctx, request, None) if not request.get("StackName") else await _body_of(ctx, request)
    document = await read_text(body)
    transforms = declared_transforms(document)
    template = _static(document, transforms)
    kinds: dict[str, list[str]] = {}
    for logical_id, resource in template.resources.items():
        kinds.setdefault(resource.type, []).append(logical_id)
    answer: dict[str, Any] = {
        "Parameters": [_declaration_view(name, entry) for name, entry in template.parameters.items()],
        "Description": template.description or None,
        "ResourceTypes": [resource.type for resource in template.resources.values()],
        "Version": "2010-09-09",
        "Metadata": text_of(template.metadata) if isinstance(template.metadata, str) else None,
        "ResourceIdentifierSummaries": [
            {"ResourceType": kind, "LogicalResourceIds": names} for kind, names in kinds.items()
        ],
    }
    answer |= _capabilities(template, transforms)
    return {member: value for member, value in answer.items() if value is not None}


async def _body_of(ctx: Context, request: Mapping[str, Any]) -> str:
    given = request["StackName"]
    where = address(ctx.request, given)

    def look(txn: ReadTxn) -> tuple[Stack | None, TemplateText | None]:
        stack = find(txn, where)
        return stack, state.load_template(txn, stack.uuid, stack.definition.revision) if stack else None

    stack, text = await read(ctx, where, look)
    if stack is None:
        raise ValidationError(f"Stack with id {given} does not exist")
    if stack.status == "REVIEW_IN_PROGRESS" or text is None:
        raise ValidationError("GetTemplateSummary cannot be called on REVIEW_IN_PROGRESS stacks.")
    return text.original


def _declaration_view(name: str, declaration: Mapping[str, Any]) -> dict[str, Any]:
    view: dict[str, Any] = {
        "ParameterKey": name,
        "ParameterType": declaration["Type"],
        "NoEcho": _no_echo(declaration),
        "ParameterConstraints": {
            "AllowedValues": [text_of(entry) for entry in declaration.get("AllowedValues", [])],
        }
        if declaration.get("AllowedValues")
        else {},
    }
    if (default := default_of(declaration)) is not None:
        view["DefaultValue"] = default
    if declaration.get("Description"):
        view["Description"] = str(declaration["Description"])
    return view
