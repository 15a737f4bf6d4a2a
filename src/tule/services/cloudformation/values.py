"""Values of resources as templates see them: while planning some are yet to come, while deploying all are there."""

from collections.abc import Mapping
from typing import Any

from tule.languages.cloudformation.errors import TemplateError
from tule.languages.cloudformation.functions import Evaluator, Scope
from tule.services.cloudformation.exports import Export, imports_in
from tule.services.cloudformation.models import OutputValue, StackResource
from tule.services.cloudformation.submission import Compiled
from tule.services.resources import UNKNOWN


class KnownResources:
    """Resources by their records; what is `coming` has no values yet."""

    def __init__(
        self, records: Mapping[str, StackResource], exports: Mapping[str, Export], coming: set[str] | None = None
    ) -> None:
        self._records = records
        self._exports = exports
        self._coming = coming if coming is not None else set()

    def ref(self, logical_id: str) -> str:
        record = self._records.get(logical_id)
        if logical_id in self._coming or record is None:
            return UNKNOWN
        return record.physical_id

    def attribute(self, logical_id: str, name: str) -> Any:
        record = self._records.get(logical_id)
        if logical_id in self._coming or record is None:
            return UNKNOWN
        found: Any = record.attributes
        if name in found:
            return found[name]
        for part in name.split("."):
            if not isinstance(found, dict) or part not in found:
                raise TemplateError(
                    f"Template error: resource {logical_id} does not support attribute type {name} in Fn::GetAtt"
                )
            found = found[part]
        return found

    def imported(self, export: str) -> str:
        if export not in self._exports:
            raise TemplateError(f"No export named {export} found.")
        return self._exports[export].value


def evaluator(compiled: Compiled, resources: KnownResources) -> Evaluator:
    """Functions in the scope of a compiled template."""
    scope = Scope(compiled.template, compiled.parameters, compiled.pseudo, compiled.conditions)
    return Evaluator(scope, resources)


def outputs(compiled: Compiled, resources: KnownResources) -> list[OutputValue]:
    """The outputs whose condition holds."""
    reckon = evaluator(compiled, resources)
    found = []
    for output in compiled.template.outputs.values():
        if output.condition is not None and not compiled.conditions[output.condition]:
            continue
        complaint = f"Template format error: Output {output.name} is malformed. The Value field of every Outputs member must evaluate to a String."  # noqa: E501 - AWS's sentence
        value = reckon.text(output.value, complaint)
        name = reckon.text(output.export_name, complaint) if output.export_name is not None else ""
        found.append(OutputValue(name=output.name, value=value, description=output.description, export_name=name))
    return found


def imported_names(compiled: Compiled) -> list[str]:
    """The exports that the included resources and outputs import."""
    reckon = evaluator(compiled, KnownResources({}, {}))
    parts = [compiled.template.resources[logical_id].properties for logical_id in compiled.needs]
    parts += [{"value": output.value} for output in compiled.template.outputs.values()]
    names = [reckon.text(argument, "Template error: Fn::ImportValue needs a name") for argument in imports_in(parts)]
    return list(dict.fromkeys(names))
