"""Functions that can be invoked at once: what names and qualifiers lead to, kept in memory until it changes."""

from dataclasses import dataclass, field

from tule.kernel.context import RequestContext
from tule.runtime.contract import FunctionVersion
from tule.services.declaration import Environment
from tule.services.lambda_ import lineage, state
from tule.services.lambda_.engine import Engine
from tule.services.lambda_.models import LATEST, Alias, Function
from tule.services.lambda_.names import FunctionName, function_not_found
from tule.services.lambda_.qualifiers import read_alias, read_qualified
from tule.services.lambda_.throttling import AccountGate, FunctionGate
from tule.store.transaction import ReadTxn

Key = tuple[str, str, str]
"""(account, region, function name)."""


@dataclass(slots=True)
class Resolved:
    """A version that is ready to be invoked, until it changes."""

    function: Function
    version: FunctionVersion
    gate: FunctionGate
    """The whole function's: its versions share a reservation."""
    span_name: str = field(init=False)
    key: Key = field(init=False)
    mark: str = field(init=False)
    """What the function is called in lineages."""

    def __post_init__(self) -> None:
        function = self.function
        self.span_name = f"function {function.name}"
        self.key = (function.account, function.region, function.name)
        self.mark = lineage.mark(function.arn)

    @property
    def closed(self) -> bool:
        """Whether its reservation is zero, so that nothing will ever run."""
        return self.gate.reservation == 0


@dataclass(frozen=True, slots=True)
class _Found:
    """What a read of a function's shard gave for a qualifier."""

    alias: Alias | None
    versions: list[tuple[Function, int]]
    """With the instances to keep initialised: first what a qualifier or an alias's main part leads to."""


class Resolution:
    """Names to versions, for the accounts and regions of this process."""

    def __init__(self, env: Environment, engine: Engine) -> None:
        self._env = env
        self._engine = engine
        self._known: dict[Key, dict[str, Resolved | Alias]] = {}
        """By qualifier; $LATEST is under "", too."""
        self._changes: dict[Key, int] = {}
        self._gates: dict[Key, FunctionGate] = {}
        self._accounts: dict[tuple[str, str], AccountGate] = {}

    async def resolve(self, context: RequestContext, name: FunctionName) -> Resolved:
        """The version that a caller named, one of two by chance where an alias splits its traffic; or AWS's 404."""
        known = self._known.get(name[:3])
        if known is not None:
            found = known.get(name.qualifier)
            if type(found) is Alias:
                found = known.get(found.pick(self._env.random.fraction()))
            if type(found) is Resolved:
                return found
        return await self._read(context, name)

    async def _read(self, context: RequestContext, name: FunctionName) -> Resolved:
        def read(txn: ReadTxn) -> _Found:
            first = read_qualified(txn, context, name)
            alias = read_alias(txn, name.qualifier)
            others = [state.read_version(txn, version) for version in alias.weights] if alias else []
            versions = [first, *(version for version in others if version is not None)]
            return _Found(alias, [(one, state.provisioned_for(txn, one.version)) for one in versions])

        key = name[:3]
        change = self.changes(key)
        found = await self._env.store.read(state.function_shard(*key), read, context)
        kept = {
            version.version: await self.keep(version, provisioned, seen=change)
            for version, provisioned in found.versions
        }
        if found.alias is None:
            return kept[found.versions[0][0].version]
        if self.changes(key) == change:
            self._known.setdefault(key, {})[found.alias.name] = found.alias
        picked = kept.get(found.alias.pick(self._env.random.fraction()))
        if picked is None:  # pragma: no cover - an alias's versions can't be deleted
            raise function_not_found(context, name)
        return picked

    def changes(self, key: Key) -> int:
        """Grows with every change of the function: to be asked before it is read."""
        return self._changes.get(key, 0)

    async def keep(self, function: Function, provisioned: int, *, seen: int) -> Resolved:
        """Remember a version that was read or written after `seen` changes, unless a later one overtook it."""
        key = (function.account, function.region, function.name)
        version = await self._engine.version(function, provisioned)
        resolved = Resolved(function, version, self.gate(key))
        if self.changes(key) == seen:
            resolved.gate.reserve(function.reserved_concurrency)
            known = self._known.setdefault(key, {})
            known[function.version] = resolved
            if function.version == LATEST:
                known[""] = resolved
        return resolved

    def gate(self, key: Key) -> FunctionGate:
        gate = self._gates.get(key)
        if gate is None:
            account = self._accounts.setdefault(key[:2], AccountGate())
            gate = self._gates[key] = FunctionGate(account, self._env.machine.monotonic_s)
        return gate

    def forget(self, key: Key) -> dict[str, Resolved]:
        """A function changed: the next call reads it again. What was known, by version."""
        self._changes[key] = self.changes(key) + 1
        known = self._known.pop(key, {})
        return {name: found for name, found in known.items() if name and isinstance(found, Resolved)}

    def deleted(self, key: Key) -> dict[str, Resolved]:
        """The function is gone, and its reservation with it."""
        gate = self._gates.pop(key, None)
        if gate is not None:
            gate.reserve(None)
            gate.provision(0)
        return self.forget(key)
