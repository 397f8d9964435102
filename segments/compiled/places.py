"""What `append` is to do, and what became of it: a place holds one write, and perhaps a sync after it."""

import ctypes

PLACES_MAX = 256
"""The number of a place is one byte in a pipe."""


class Place(ctypes.Structure):
    """As Python sees it. `data` keeps the bytes where they are for as long as it has them."""

    _fields_ = [
        ("descriptor", ctypes.c_int64),
        ("data", ctypes.c_char_p),
        ("size", ctypes.c_int64),
        ("offset", ctypes.c_int64),
        ("wants_sync", ctypes.c_int64),
        ("is_written", ctypes.c_int64),
        ("errno", ctypes.c_int64),
    ]


PLACE_INTS = ctypes.sizeof(Place) // 8
DESCRIPTOR, DATA, SIZE, OFFSET, WANTS_SYNC, IS_WRITTEN, ERRNO = range(PLACE_INTS)
"""As machine code sees it."""
