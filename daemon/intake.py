"""Request bodies on their way in: size limits, content codings, and the memory budget, the same for every route."""

from functools import partial

import trio

from daemon.admission import Budget, Reservation
from daemon.answers import Refused, Request
from daemon.body import BrokenCoding, UnfoldsTooFar, codec_of, unfold, unsaid_coding
from daemon.body_flow import BodyTooLarge, Sink
from daemon.body_rooms import BodyRooms
from daemon.disk_space import DiskSpace
from daemon.warm_up import WarmUp

UNPACKED_AT_ONCE = 2
"""As Python objects, rows of a few bytes take fifty times their size, which no budget for bytes counts."""


class Intake:
    """Reads bodies; one for the daemon. Who makes objects of all of a large one holds `unpacking` meanwhile."""

    def __init__(self, budget: Budget, space: DiskSpace, warm_up: WarmUp, *, bytes_max: int) -> None:
        self.budget = budget
        self.rooms = BodyRooms()
        self.warm_up = warm_up
        self.unpacking = trio.CapacityLimiter(UNPACKED_AT_ONCE)
        self.space = space
        self.bytes_max = bytes_max

    async def read_rows(self, request: Request, reservation: Reservation, sink: Sink | None = None) -> bytes:
        """As `read`, of what is to be stored. Also raises NoRoom, before the body is read."""
        self.space.check()
        return await self.read(request, reservation, sink)

    async def read(self, request: Request, reservation: Reservation, sink: Sink | None = None) -> bytes:
        """The whole body, unfolded; nothing where there is a `sink`, which has it then, in no coding. What it takes in memory
        is held in `reservation`.

        Raises Refused, UnknownCoding, and OverBudget, all three before the body is read wherever that is possible.
        """
        codec = codec_of(request.head.headers.get(b"content-encoding"))
        announced = request.head.content_length
        if announced is not None:
            if announced > self.bytes_max:
                raise self._too_large(announced)
            # Held only as it comes: a slow sender must not keep room that it does not fill.
            self.budget.check_room(announced)
        try:
            body = await request.connection.read_body(bytes_max=self.bytes_max, progress=reservation, sink=sink)
        except BodyTooLarge as error:
            raise self._too_large(error.seen) from None
        reservation.hold(len(body))
        if codec is not None:
            return await self._unfold(body, codec, reservation)
        self.check_coding(body)
        return body

    def check_coding(self, body: bytes) -> None:
        """Raises Refused for a body in a coding, of a request that says none."""
        coding = unsaid_coding(body)
        if coding is not None:
            raise Refused(
                400, f"the body is in {coding}, which the request does not say; send Content-Encoding: {coding}"
            )

    async def _unfold(self, body: bytes, codec: str, reservation: Reservation) -> bytes:
        def hold(size: int) -> None:
            trio.from_thread.run_sync(reservation.hold, len(body) + size)

        work = partial(unfold, body, codec, bytes_max=self.bytes_max, progress=hold)
        try:
            unfolded = await trio.to_thread.run_sync(work)
        except UnfoldsTooFar:
            raise Refused(
                413,
                f"the body is more than {self.bytes_max} bytes after decompression, which is the limit; "
                "send it in parts",
            ) from None
        except BrokenCoding as error:
            raise Refused(400, f"{error}; nothing of it was stored") from None
        reservation.shrink(len(unfolded))
        return unfolded

    def _too_large(self, seen: int) -> Refused:
        return Refused(
            413, f"the body has {seen} bytes or more; {self.bytes_max} is the limit for one request, send it in parts"
        )
