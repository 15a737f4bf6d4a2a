"""How many invocations may run at once, how many may begin in a second, and the answer when there are more."""

from collections.abc import Callable

from tule.kernel.errors import AwsError
from tule.kernel.pacing import Bucket
from tule.services.lambda_ import limits

RESERVED = "ReservedFunctionConcurrentInvocationLimitExceeded"
RESERVED_RATE = "ReservedFunctionInvocationRateLimitExceeded"
ACCOUNT = "ConcurrentInvocationLimitExceeded"
RATE = "FunctionInvocationRateLimitExceeded"
CALLER = "CallerRateLimitExceeded"


class TooManyRequestsError(AwsError):
    code = "TooManyRequestsException"
    status = 429

    def __init__(self, reason: str) -> None:
        super().__init__("Rate Exceeded.", members={"Reason": reason, "Type": "User"})


class AccountGate:
    """Invocations that run in one account and region, but for those of functions with a reservation and those that
    provisioned instances are kept for."""

    __slots__ = ("reserved", "running")

    def __init__(self) -> None:
        self.running = 0
        self.reserved = 0
        """The sum of what is set aside for single functions, which the others may not use."""


class FunctionGate:
    """Invocations of one function that run, against its reservation or its account's rest, and how fast they come."""

    __slots__ = ("_account", "_now_s", "_rate", "provisioned", "reservation", "running")

    def __init__(self, account: AccountGate, now_s: Callable[[], float]) -> None:
        self._account = account
        self._now_s = now_s
        self.running = 0
        self.reservation: int | None = None
        self.provisioned = 0
        """Instances that are kept for it, by all its versions."""
        self._rate: Bucket | None = None

    def reserve(self, reservation: int | None) -> None:
        """Keep to a new reservation from now on."""
        if reservation != self.reservation:
            self._change(reservation, self.provisioned)
            self._rate = None

    def provision(self, provisioned: int) -> None:
        """So many instances are kept for the function from now on: out of its reservation, or of its account's rest."""
        self._change(self.reservation, provisioned)

    def _change(self, reservation: int | None, provisioned: int) -> None:
        account = self._account
        account.running -= self._of_account
        account.reserved -= self._set_aside
        self.reservation, self.provisioned = reservation, provisioned
        account.running += self._of_account
        account.reserved += self._set_aside

    @property
    def _set_aside(self) -> int:
        return self.provisioned if self.reservation is None else self.reservation

    @property
    def _of_account(self) -> int:
        """What of the account's rest it uses."""
        return max(0, self.running - self.provisioned) if self.reservation is None else 0

    def enter(self, *, paced: bool = True) -> None:
        """Begin an invocation, or refuse it with AWS's 429. The number of synchronous ones a second is limited, too
        ("Lambda quotas": ten times the concurrency); queued events are not `paced`."""
        if self.reservation is not None:
            if self.running >= self.reservation:
                raise TooManyRequestsError(RESERVED)
        elif self.running >= self.provisioned:
            account = self._account
            if account.running >= limits.ACCOUNT_CONCURRENCY - account.reserved:
                raise TooManyRequestsError(ACCOUNT)
        if paced:
            self._pace()
        if self.reservation is None and self.running >= self.provisioned:
            self._account.running += 1
        self.running += 1

    def _pace(self) -> None:
        now_s = self._now_s()
        if self._rate is None:
            concurrency = limits.ACCOUNT_CONCURRENCY if self.reservation is None else self.reservation
            per_s = concurrency * limits.REQUESTS_PER_INSTANCE
            self._rate = Bucket(per_s, per_s, now_s)
        if not self._rate.take(now_s):
            raise TooManyRequestsError(RATE if self.reservation is None else RESERVED_RATE)

    def leave(self) -> None:
        self.running -= 1
        if self.reservation is None and self.running >= self.provisioned:
            self._account.running -= 1
