"""A large body is decoded while the rest of it still arrives: parts cut at line ends, each in a thread, on all cores."""

import mmap
from collections.abc import Awaitable, Callable
from functools import cached_property

import trio

from daemon.body_flow import Sink
from daemon.body_rooms import BodyRooms
from segments.bulk import PART_BYTES, BulkDecoder
from segments.decode import Decoded
from segments.lines import BOM

Body = bytes | mmap.mmap
_BLANKS = b" \t\r\n"


class ArrivingRows:
    """The parts of one body of `size_bytes`, in order. Bytes that are no lines of objects are left to whoever has the
    whole body."""

    def __init__(
        self,
        size_bytes: int,
        rooms: BodyRooms,
        decoder: BulkDecoder,
        threads: trio.CapacityLimiter,
        nursery: trio.Nursery,
    ) -> None:
        self._size_bytes = size_bytes
        self._rooms = rooms
        self._decoder = decoder
        self._threads = threads
        self._nursery = nursery
        self._arrived = 0
        self._cut = 0
        self._parts: list[Decoded | None] = []
        self._is_array = False
        self.failure: Exception | None = None

    @cached_property
    def body(self) -> mmap.mmap:
        """What has come, and behind it anything."""
        return self._rooms.take(self._size_bytes)

    def room(self) -> memoryview:
        """Where the next bytes go."""
        return memoryview(self.body)[self._arrived :]

    def came(self, count: int) -> None:
        """So many bytes are there."""
        before, self._arrived = self._arrived, self._arrived + count
        if self._arrived - self._cut >= PART_BYTES:
            end = self.body.rfind(b"\n", before, self._arrived) + 1
            if end:
                self._decode_to(end)

    def end(self) -> None:
        """There is no more."""
        self._decode_to(self._arrived)

    def join(self) -> Decoded | None:
        """The rows, once all parts are decoded; None when the body must be looked at as a whole."""
        if self._is_array:
            return None
        return self._decoder.join([part for part in self._parts if part is not None], self._arrived)

    def fail(self, error: Exception) -> None:
        """Decode no further: the body is refused."""
        self.failure = self.failure or error
        self._nursery.cancel_scope.cancel()

    def _decode_to(self, end: int) -> None:
        start, self._cut = self._cut, end
        if not start:
            start = len(BOM) if self.body[: len(BOM)] == BOM else 0
            self._is_array = self.body[start:end].lstrip(_BLANKS)[:1] == b"["
        if start < end and not self._is_array:
            self._parts.append(None)
            self._nursery.start_soon(self._decode, len(self._parts) - 1, start, end)

    async def _decode(self, place: int, start: int, end: int) -> None:
        def decode() -> Decoded:
            return self._decoder.decode_part(self.body[start:end])

        try:
            self._parts[place] = await trio.to_thread.run_sync(decode, limiter=self._threads)
        except Exception as error:  # noqa: BLE001 -- raised again by decode_arriving, without the nursery's wrapping
            self.fail(error)


async def decode_arriving(
    read: Callable[[Sink], Awaitable[bytes]],
    size_bytes: int,
    rooms: BodyRooms,
    decoder: BulkDecoder,
    threads: trio.CapacityLimiter,
) -> tuple[Body, Decoded | None]:
    """The body of `size_bytes` that `read` puts into its sink, and its rows; a room, to be given back. None for the rows when
    the body must be looked at as a whole, which is bytes then.

    Raises what `read` raises, and what the decoder does.
    """
    async with trio.open_nursery() as nursery:
        rows = ArrivingRows(size_bytes, rooms, decoder, threads, nursery)
        try:
            await read(rows)
            rows.end()
        except Exception as error:  # noqa: BLE001 -- raised again below, without the nursery's wrapping
            rows.fail(error)
    failure, rows.failure = rows.failure, None
    if failure is not None:
        try:
            raise failure
        finally:
            # Its traceback leads to this frame, and from here to the body: a ring that nobody would free for long.
            del failure, rows
    joined = rows.join()
    if joined is not None:
        return rows.body, joined
    whole = rows.body[:]
    rooms.give_back(rows.body)
    return whole, None
