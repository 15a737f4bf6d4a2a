"""How often something may happen: a bucket of tokens that fills at a steady rate."""


class Bucket:
    """Holds `most` tokens at first and at most; `per_s` come back each second. What isn't used is not saved up."""

    __slots__ = ("_at_s", "_left", "most", "per_s")

    def __init__(self, most: float, per_s: float, now_s: float) -> None:
        self.most = most
        self.per_s = per_s
        self._left = most
        self._at_s = now_s

    def take(self, now_s: float) -> bool:
        """Take a token if there is one."""
        left = self._left + (now_s - self._at_s) * self.per_s
        self._at_s = now_s
        left = min(left, self.most)
        if left < 1.0:
            self._left = left
            return False
        self._left = left - 1.0
        return True

    def full(self, now_s: float) -> bool:
        """Whether nothing is missing, so that a new bucket would be the same."""
        return self._left + (now_s - self._at_s) * self.per_s >= self.most
