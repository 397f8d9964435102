"""Threads that write and sync frames by machine code, without the interpreter lock.

A thread of Python's gives the lock away and waits for it again at every system call, and keeps others from it meanwhile; with
many sources, each with a sync of its own, that is most of what a commit costs. These stay in one call of machine code for as
long as they live. Numbers of places go to them through one pipe, and come back through another.
"""

import ctypes
import os
import signal
import threading

from segments.compiled.load import MachineCode
from segments.compiled.places import PLACES_MAX, Place
from segments.wal_append import Append, Appended

THREADS = 32


class AppendThreads:
    """`put` and `start` appends, and `take` those that are through when `ended` is readable. For one thread; to be closed
    when nothing is under way."""

    def __init__(self, code: MachineCode) -> None:
        """Raises RuntimeError or OSError when there can't be as many threads, or no pipes."""
        # Without it the threads would return to where no code is any more.
        self._code = code
        self._memory = (Place * PLACES_MAX)()
        self._places = list(self._memory)
        self._numbers = (ctypes.c_uint8 * THREADS)()
        self._free = list(range(PLACES_MAX))
        self._put = bytearray()
        begun, self._begin = os.pipe()
        try:
            self.ended, end = os.pipe()
        except OSError:
            os.close(begun)
            os.close(self._begin)
            raise
        os.set_blocking(self.ended, False)
        self._pipes = (begun, self.ended, end)
        self._threads: list[threading.Thread] = []
        # They have the mask of the thread that starts them: a file system may give up a sync when a signal comes, and with it
        # the file.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._start_threads(begun, end)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _start_threads(self, begun: int, end: int) -> None:
        for number in range(THREADS):
            mine = ctypes.addressof(self._numbers) + number
            arguments = (begun, end, ctypes.addressof(self._memory), mine)
            thread = threading.Thread(target=self._code.append, args=arguments, name=f"append {number}", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                # Where threads are this scarce, those that are left are for whatever else needs one.
                self.close()
                raise
            self._threads.append(thread)

    @property
    def has_room(self) -> bool:
        return bool(self._free)

    def put(self, append: Append, *, durably: bool) -> int:
        """Have it made after `start`; the number is what `take` calls it. Only while there is room."""
        assert isinstance(append.data, bytes)
        number = self._free.pop()
        place = self._places[number]
        place.descriptor, place.offset = append.descriptor, append.offset
        place.data, place.size = append.data, len(append.data)
        place.wants_sync = durably
        self._put.append(number)
        return number

    def start(self) -> None:
        """Let the threads have what was put."""
        if self._put:
            os.write(self._begin, self._put)
            self._put.clear()

    def take(self) -> list[tuple[int, Appended]]:
        """Those that are through, in the order in which they were. None when none is."""
        try:
            numbers = os.read(self.ended, PLACES_MAX)
        except BlockingIOError:
            return []
        return [(number, self._take(number)) for number in numbers]

    def _take(self, number: int) -> Appended:
        place = self._places[number]
        place.data = None
        self._free.append(number)
        error = OSError(place.errno, os.strerror(place.errno)) if place.errno else None
        return Appended(bool(place.is_written), bool(place.wants_sync) and error is None, error)

    def close(self) -> None:
        """End the threads."""
        os.close(self._begin)
        for thread in self._threads:
            thread.join()
        for descriptor in self._pipes:
            os.close(descriptor)
