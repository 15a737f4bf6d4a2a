"""Services that have something to go on with: noted durably before their first start, started again with Tule."""

from typing import Final

import structlog

from tule.gateway.contexts import Contexts
from tule.gateway.registry import Services
from tule.kernel.settings import Settings
from tule.kernel.tasks import Supervisor
from tule.store.contract import Store
from tule.store.keys import pack, unpack
from tule.store.transaction import ReadTxn, ShardKey, Txn

KEY_HOLDERS: Final = ("iam", "sts")
"""Services whose start brings back access keys: no request may come before they are known."""

_KIND: Final = "started"
_log = structlog.get_logger("tule.services")


class Resumption:
    """Knows which services were ever started on this store."""

    def __init__(self, store: Store, services: Services, contexts: Contexts, settings: Settings) -> None:
        self._store = store
        self._services = services
        self._context = contexts.background(settings.account, settings.region)
        self._shard = ShardKey("tule", settings.account, settings.region, "services")
        self._noted: set[str] = set()

    async def begin(self, tasks: Supervisor) -> None:
        """Start what earlier processes had started: those that know keys now, the rest in the background, where a call
        that comes first waits for its own."""
        self._noted = set(await self._store.read(self._shard, _noted, self._context))
        self._services.on_first_start = self._note
        for name in KEY_HOLDERS:
            if name in self._noted:
                await self._services.start(name)
        for name in sorted(self._noted):
            if name in self._services:
                tasks.spawn(f"resume {name}", self._resume(name))

    async def _resume(self, name: str) -> None:
        await self._services.start(name)

    async def _note(self, name: str) -> None:
        if name in self._noted:
            return

        def write(txn: Txn) -> None:
            txn.put(pack(_KIND, name), b"")

        await self._store.transact(self._shard, write, self._context)
        self._noted.add(name)


def _noted(txn: ReadTxn) -> list[str]:
    prefix = pack(_KIND)
    return [str(unpack(key)[1]) for key, _ in txn.scan(prefix, prefix + b"\xff", 1000)]
