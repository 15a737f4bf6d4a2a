"""The recursion guard: a chain of requests that comes back to a function too often is stopped there."""

from tule.kernel.errors import AwsError
from tule.services.lambda_ import limits, lineage

Key = tuple[str, str, str]
"""(account, region, function name)."""


class RecursiveInvocationError(AwsError):
    code = "RecursiveInvocationException"

    def __init__(self) -> None:
        super().__init__(
            "Lambda has detected your function being invoked in a recursive loop with other Amazon Web Services "
            "resources and stopped your function's invocation.",
            members={"Type": "User"},
        )


class RecursionGuard:
    """Knows which functions may loop, and which chains have."""

    def __init__(self) -> None:
        self._allowed: set[Key] = set()

    def allow(self, key: Key, *, allowed: bool) -> None:
        """Keep to a function's RecursiveLoop setting from now on."""
        if allowed:
            self._allowed.add(key)
        else:
            self._allowed.discard(key)

    def stops(self, key: Key, mark: str, chain: str) -> bool:
        """Whether a request of this lineage may not run the function `key`, called `mark` in lineages."""
        return bool(chain) and lineage.passes(chain, mark) >= limits.RECURSION_MAX and key not in self._allowed
