"""What the language has to say against a request, before a service dresses it for its caller."""


class Refusal(Exception):  # noqa: N818 - it is the user's mistake, not a failure of ours
    """A request that DynamoDB answers with a ValidationException.

    AWS is between two generations of texts: `message` is the current one and `older` the one that some operations
    still print. `bare` marks texts that never get the prefix "1 validation error detected: ".
    """

    def __init__(self, message: str, *, older: str | None = None, bare: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.older = message if older is None else older
        self.bare = bare


class WrongShape(Exception):  # noqa: N818 - named for what it says about the body
    """A body whose JSON types are not those of an AttributeValue: a SerializationException on AWS."""


INVALID_PARAMETERS = "One or more parameter values were invalid: "
