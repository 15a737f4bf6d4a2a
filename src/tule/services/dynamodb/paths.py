"""What document paths may not do to key attributes."""

from tule.languages.dynamodb.binding import Values
from tule.languages.dynamodb.conditions import Program
from tule.languages.dynamodb.projection import Projection
from tule.languages.dynamodb.updates import Update
from tule.services.dynamodb.errors import ValidationError, invalid
from tule.services.dynamodb.models import OpenTable

_SCALARS = "Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: "


def check_nested(table: OpenTable, expression: Program | Projection | None) -> None:
    """Refuse paths into key attributes, which have no inside."""
    if expression is None:
        return
    for steps in expression.paths:
        if len(steps) > 1:
            name = str(steps[0])
            if name in table.key_names:
                raise ValidationError(f"{_SCALARS}Key: {name}")
            if name in table.types:
                raise ValidationError(f"{_SCALARS}IndexKey: {name}")


def check_update(table: OpenTable, update: Update, values: Values) -> None:
    """Refuse updates of the primary key, and literals that an index's key can't be."""
    for step in update.steps:
        name = str(step.path[0])
        if name in table.key_names:
            raise invalid(f"Cannot update attribute {name}. This attribute is part of the key")
    for step in update.steps:
        name = str(step.path[0])
        if name not in table.types:
            continue
        if len(step.path) > 1:
            raise ValidationError(f"{_SCALARS}IndexKey: {name}")
        if step.clause == "SET" and step.literal and table.types[name] not in values[step.literal]:
            index = min(index.name for index in table.indexes if name in index.keys)
            raise invalid(
                f"Type mismatch for Index Key {name} Expected: {table.types[name]} "
                f"Actual: {next(iter(values[step.literal]))} IndexName: {index}"
            )
