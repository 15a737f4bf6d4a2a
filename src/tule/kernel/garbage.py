"""The cycle collector, told what a server's memory is like: much that stays, and requests that free themselves."""

import gc
from typing import Final

YOUNG: Final = 20_000
"""Objects that outlive their request before the youngest are looked through (ours; Python's own 700 cost a tenth of a
small request, since the spans that wait for their writer are looked at again and again)."""
MIDDLE: Final = 20
OLD: Final = 50


def settle() -> None:
    """Leave what is in memory now out of all collections to come: modules, models, compiled codecs. Call it again
    whenever much has been loaded."""
    gc.set_threshold(YOUNG, MIDDLE, OLD)
    gc.freeze()
