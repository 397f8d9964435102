"""A large body is decoded while the rest of it still arrives: parts cut at line ends, each in a thread, on all cores."""

from collections.abc import Awaitable, Callable

import trio

from segments.bulk import PART_BYTES, BulkDecoder
from segments.decode import Decoded
from segments.lines import BOM

Sink = Callable[[bytes], None]
_BLANKS = b" \t\r\n"


class ArrivingRows:
    """The parts of one body, in order. Bytes that are no lines of objects are left to whoever has the whole body."""

    def __init__(self, decoder: BulkDecoder, threads: trio.CapacityLimiter, nursery: trio.Nursery) -> None:
        self._decoder = decoder
        self._threads = threads
        self._nursery = nursery
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._size_bytes = 0
        self._parts: list[Decoded | None] = []
        self._is_first = True
        self._is_array = False
        self.failure: Exception | None = None

    def take(self, data: bytes) -> None:
        """The next bytes of the body."""
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        self._size_bytes += len(data)
        if self._waiting_bytes >= PART_BYTES:
            end = data.rfind(b"\n") + 1
            if end:
                self._waiting[-1] = data[:end]
                self._decode_waiting()
                self._waiting, self._waiting_bytes = [data[end:]], len(data) - end

    def end(self) -> None:
        """There is no more."""
        self._decode_waiting()

    @property
    def joined(self) -> Decoded | None:
        """The rows, once all parts are decoded; None when the body must be looked at as a whole."""
        if self._is_array:
            return None
        return self._decoder.join([part for part in self._parts if part is not None], self._size_bytes)

    def fail(self, error: Exception) -> None:
        """Decode no further: the body is refused."""
        self.failure = self.failure or error
        self._nursery.cancel_scope.cancel()

    def _decode_waiting(self) -> None:
        part = b"".join(self._waiting)
        if self._is_first:
            self._is_first = False
            part = part.removeprefix(BOM)
            self._is_array = part.lstrip(_BLANKS)[:1] == b"["
        if part and not self._is_array:
            self._parts.append(None)
            self._nursery.start_soon(self._decode, len(self._parts) - 1, part)

    async def _decode(self, place: int, part: bytes) -> None:
        try:
            self._parts[place] = await trio.to_thread.run_sync(self._decoder.decode_part, part, limiter=self._threads)
        except Exception as error:  # noqa: BLE001 -- raised again by decode_arriving, without the nursery's wrapping
            self.fail(error)


async def decode_arriving(
    read: Callable[[Sink], Awaitable[bytes]], decoder: BulkDecoder, threads: trio.CapacityLimiter
) -> tuple[bytes, Decoded | None]:
    """The body that `read` gives, and its rows; None for those when the body must be looked at as a whole.

    Raises what `read` raises, and what the decoder does.
    """
    body = b""
    async with trio.open_nursery() as nursery:
        rows = ArrivingRows(decoder, threads, nursery)
        try:
            body = await read(rows.take)
            rows.end()
        except Exception as error:  # noqa: BLE001 -- raised again below, without the nursery's wrapping
            rows.fail(error)
    if rows.failure is not None:
        raise rows.failure
    return body, rows.joined
