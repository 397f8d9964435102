"""Writes and syncs, one after the other, in a thread that never needs the interpreter: what `Append.make` does, for `AppendThreads`."""

from errno import EINTR, EIO

from segments.compiled.functions import BYTES, INT, INT32, INT32S, INTS, Bytes, Ints, compiled, entry, library
from segments.compiled.places import DATA, DESCRIPTOR, ERRNO, IS_WRITTEN, OFFSET, PLACE_INTS, SIZE, WANTS_SYNC

_read = library("read", INT(INT32, BYTES, INT))
_write = library("write", INT(INT32, BYTES, INT))
_pwrite = library("pwrite", INT(INT32, INT, INT, INT))
_fdatasync = library("fdatasync", INT32(INT32))
_errno = library("__errno_location", INT32S())


@compiled(INT())
def _failure() -> int:
    """Of this thread's last call."""
    failure: int = _errno()[0]
    return failure


@entry(INT(INT, INT, INTS, BYTES))
def append(begun: int, ended: int, places: Ints, number: Bytes) -> int:
    """Make the append at each place whose number comes out of the pipe `begun`, and put that into the pipe `ended`. Returns
    when `begun` has no more writers, or with what is wrong with the pipes. `number` is a byte of memory."""
    while True:
        got = _read(begun, number, 1)
        if got == 0:
            return 0
        if got < 0:
            if _failure() != EINTR:
                return _failure()
            continue
        place = PLACE_INTS * number[0]
        descriptor, error, done = places[place + DESCRIPTOR], 0, 0
        while done < places[place + SIZE] and error == 0:
            wrote = _pwrite(
                descriptor, places[place + DATA] + done, places[place + SIZE] - done, places[place + OFFSET] + done
            )
            if wrote > 0:
                done += wrote
            elif wrote == 0:
                error = EIO
            elif _failure() != EINTR:
                error = _failure()
        places[place + IS_WRITTEN] = error == 0
        if error == 0 and places[place + WANTS_SYNC] != 0 and _fdatasync(descriptor) != 0:
            # Never again, not even when it was interrupted: a second sync may say yes to what the first has lost.
            error = _failure()
        places[place + ERRNO] = error
        while _write(ended, number, 1) < 0:
            if _failure() != EINTR:
                return _failure()
