"""What a qualifier means: $LATEST, a published version's number, or an alias."""

from tule.kernel.context import RequestContext
from tule.services.lambda_ import state
from tule.services.lambda_.models import LATEST, Alias, Function
from tule.services.lambda_.names import FunctionName, alias_not_found, function_not_found
from tule.store.transaction import ReadTxn


def is_number(qualifier: str) -> bool:
    """Whether it can only be a version: no alias's name is all digits."""
    return qualifier.isdigit()


def is_alias(qualifier: str) -> bool:
    return qualifier not in ("", LATEST) and not is_number(qualifier)


def read_alias(txn: ReadTxn, qualifier: str) -> Alias | None:
    """The alias, if the qualifier names one that exists."""
    return state.read_alias(txn, qualifier) if is_alias(qualifier) else None


def read_qualified(txn: ReadTxn, context: RequestContext, name: FunctionName) -> Function:
    """The version that a name means, $LATEST if it has no qualifier, or AWS's 404. An alias means its first version."""
    alias = read_alias(txn, name.qualifier)
    version = alias.version if alias is not None else name.qualifier or LATEST
    if is_alias(version):
        raise function_not_found(context, name)
    found = state.read_version(txn, version)
    if found is None:
        raise function_not_found(context, name)
    return found


def require_qualifier(txn: ReadTxn, context: RequestContext, name: FunctionName) -> None:
    """Refuse a name that means nothing, an alias in the words that operations on its policy or provisioning have."""
    if "$" not in name.qualifier and is_alias(name.qualifier) and state.read_alias(txn, name.qualifier) is None:
        raise alias_not_found(context, name)
    read_qualified(txn, context, name)


def versions_behind(txn: ReadTxn, qualifier: str) -> list[str]:
    """The versions that a call of a qualifier may run."""
    if not is_alias(qualifier):
        return [qualifier or LATEST]
    alias = state.read_alias(txn, qualifier)
    return [] if alias is None else [alias.version, *alias.weights]
