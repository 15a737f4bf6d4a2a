"""A function's response on its way to one reader, as the function writes it."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from tule.kernel.errors import ServiceUnavailableError
from tule.services.lambda_.engine import Outcome
from tule.services.lambda_.resolution import Resolved

if TYPE_CHECKING:
    from tule.services.lambda_.execution import Execution, Invocation

BUFFERED_TYPE = "application/json"
"""What a function that doesn't stream answers."""


class ReaderLeftError(ConnectionError):
    """Nobody reads the response any more. The function goes on, as on AWS."""


class StreamedResponse:
    """Takes chunks from the runtime (it is a `ResponseSink`) and gives them to whoever iterates, one at a time."""

    def __init__(self) -> None:
        self.content_type = ""
        self._chunk: bytes | None = None
        self._outcome: Outcome | None = None
        self._error: BaseException | None = None
        self._left = False
        self._changed = asyncio.Event()

    # -- the runtime's side

    async def __call__(self, chunk: bytes) -> None:
        await self._until_taken()
        self._chunk = chunk
        self._tell()

    async def _until_taken(self) -> None:
        while self._chunk is not None:
            await self._change()
        if self._left:
            raise ReaderLeftError

    async def run(self, execution: "Execution", resolved: Resolved, invocation: "Invocation") -> None:
        """Invoke the function and hand on what it answers."""
        try:
            outcome = await execution.run(resolved, replace(invocation, response=self))
            if outcome.payload and not outcome.error:
                self.content_type = BUFFERED_TYPE
                await self(outcome.payload)
            await self._until_taken()
            self._outcome = outcome
        except ReaderLeftError:
            pass
        except BaseException as error:
            self._error = error if isinstance(error, Exception) else ServiceUnavailableError("Tule is stopping.")
            if not isinstance(error, Exception):
                raise
        finally:
            self._tell()

    # -- the reader's side

    @property
    def outcome(self) -> Outcome:
        """How the invocation ended; known when the iteration has."""
        assert self._outcome is not None
        return self._outcome

    async def begun(self) -> None:
        """Wait for the first chunk or the end. Raises `AwsError` if the function could not run."""
        while self._chunk is None and self._outcome is None and self._error is None:
            await self._change()
        if self._error is not None:
            raise self._error

    async def is_over(self) -> bool:
        """Whether there is nothing more to read; waits until that is known."""
        await self.begun()
        return self._chunk is None

    def __aiter__(self) -> "StreamedResponse":
        return self

    async def __anext__(self) -> bytes:
        await self.begun()
        chunk, self._chunk = self._chunk, None
        if chunk is None:
            raise StopAsyncIteration
        self._tell()
        return chunk

    async def aclose(self) -> None:
        """The reader has left: what still comes is thrown away."""
        self._left = True
        self._chunk = None
        self._tell()

    def _tell(self) -> None:
        self._changed.set()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


async def stream(execution: "Execution", resolved: Resolved, invocation: "Invocation") -> StreamedResponse:
    """Begin an invocation whose response is read as it comes; returns when there is something to read, or its end.

    Raises `AwsError` as `Execution.run` does.
    """
    response = StreamedResponse()
    work = response.run(execution, resolved, invocation)
    execution.env.tasks.spawn(f"response of {resolved.function.name}", work)
    try:
        await response.begun()
    except BaseException:
        await response.aclose()
        raise
    return response
