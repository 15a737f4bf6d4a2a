"""How a function's events are retried and where their ends are told: its event invoke configuration."""

import msgspec

from tule.services.lambda_ import limits


class InvokeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration of one qualifier. What is None was left out, and AWS's defaults hold."""

    modified_ms: int
    retries: int | None = None
    age_s: int | None = None
    on_success: str = ""
    """Destination ARN, or ""."""
    on_failure: str = ""

    @property
    def retries_max(self) -> int:
        """Times that an event is tried again after the function failed."""
        return limits.EVENT_RETRIES if self.retries is None else self.retries

    @property
    def age_max_ms(self) -> int:
        """How old an event may get before it is given up."""
        return (limits.EVENT_AGE_MAX_S if self.age_s is None else self.age_s) * 1000


DEFAULT = InvokeConfig(modified_ms=0)
"""What holds for a qualifier without a configuration."""
