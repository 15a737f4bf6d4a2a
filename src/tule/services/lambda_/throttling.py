"""How many invocations may run at once, and the answer when there are more."""

from tule.kernel.errors import AwsError
from tule.services.lambda_ import limits

RESERVED = "ReservedFunctionConcurrentInvocationLimitExceeded"
ACCOUNT = "ConcurrentInvocationLimitExceeded"


class TooManyRequestsError(AwsError):
    code = "TooManyRequestsException"
    status = 429

    def __init__(self, reason: str) -> None:
        super().__init__("Rate Exceeded.", members={"Reason": reason, "Type": "User"})


class AccountGate:
    """Invocations that run in one account and region, those of functions with a reservation apart."""

    __slots__ = ("reserved", "running")

    def __init__(self) -> None:
        self.running = 0
        self.reserved = 0
        """The sum of all reservations, which the unreserved functions may not use."""


class FunctionGate:
    """Invocations of one function that run, against its reservation or its account's rest."""

    __slots__ = ("_account", "reservation", "running")

    def __init__(self, account: AccountGate) -> None:
        self._account = account
        self.running = 0
        self.reservation: int | None = None

    def reserve(self, reservation: int | None) -> None:
        """Keep to a new reservation from now on."""
        self._account.reserved += (reservation or 0) - (self.reservation or 0)
        if (reservation is None) != (self.reservation is None):
            self._account.running += self.running if reservation is None else -self.running
        self.reservation = reservation

    def enter(self) -> None:
        """Begin an invocation, or refuse it with AWS's 429."""
        if self.reservation is not None:
            if self.running >= self.reservation:
                raise TooManyRequestsError(RESERVED)
        else:
            account = self._account
            if account.running >= limits.ACCOUNT_CONCURRENCY - account.reserved:
                raise TooManyRequestsError(ACCOUNT)
            account.running += 1
        self.running += 1

    def leave(self) -> None:
        self.running -= 1
        if self.reservation is None:
            self._account.running -= 1
