"""Numbers that grow within a slot, whatever happens to the process or the clock."""

from tule.store.backend import Pair
from tule.store.space import NUMBER, SLOTS, slot_key

BLOCK = 1 << 20
"""Numbers a slot may give for one row written; what is left of a block at a restart is skipped (ours)."""


class SlotIds:
    """The next number of every slot, and the ceilings that have to be written before numbers beyond may be told."""

    __slots__ = ("_ceilings", "_next", "unsaved")

    def __init__(self) -> None:
        self._next = [1] * SLOTS
        self._ceilings = [1] * SLOTS
        self.unsaved: dict[bytes, bytes] = {}
        """Rows that the next batch writes, whichever transaction it holds: ids of one that was refused are skipped."""

    def load(self, rows: list[Pair]) -> None:
        """Go on from the committed rows of the slot space."""
        for key, value in rows:
            slot = key[1]
            self._next[slot] = self._ceilings[slot] = max(self._ceilings[slot], NUMBER.unpack(value)[0])

    def take(self, slot: int) -> int:
        number = self._next[slot]
        self._next[slot] = number + 1
        if number >= self._ceilings[slot]:
            self._ceilings[slot] = number + BLOCK
            self.unsaved[slot_key(slot)] = NUMBER.pack(number + BLOCK)
        return number

    def distrust(self) -> None:
        """A commit was refused, perhaps one with ceilings in it: write every ceiling again before its next number."""
        self._ceilings = list(self._next)
