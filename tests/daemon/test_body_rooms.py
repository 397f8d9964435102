"""Memory for bodies goes from one to the next, and back to the system when there are none."""

import gc

import trio
import trio.testing

from daemon.body_rooms import KEPT_MAX, KEPT_S, BodyRooms


def test_a_room_that_was_given_back_is_the_next_in_its_size():
    rooms = BodyRooms()
    room = rooms.take(10_000)
    room[:] = b"x" * 10_000
    rooms.give_back(room)

    for size in (1_000_000, 5_000, 10_000):
        again = rooms.take(size)
        assert again is room
        assert len(again) == size
        assert again[:4_000] == b"x" * 4_000
        again[-1] = 1
        rooms.give_back(again)


def test_one_that_somebody_still_looks_into_is_left_to_them():
    rooms = BodyRooms()
    room = rooms.take(10_000)
    seen = memoryview(room)
    rooms.give_back(room)

    assert rooms.take(20_000) is not room
    assert len(seen) == 10_000


def test_few_are_kept():
    rooms = BodyRooms()
    taken = [rooms.take(100) for _ in range(KEPT_MAX + 2)]
    for room in taken:
        rooms.give_back(room)

    again = [rooms.take(100) for _ in taken]
    assert sum(room in taken for room in again) == KEPT_MAX


def test_used_rooms_that_slow_senders_have_count_among_the_few():
    """What they hold is memory, though they have sent nothing of it."""
    rooms = BodyRooms()
    slow = []
    for _ in range(5):
        rooms.give_back(rooms.take(100))
        slow.append(rooms.take(100))
    fresh = [rooms.take(100) for _ in range(KEPT_MAX)]
    for room in fresh:
        rooms.give_back(room)
    assert sum(rooms.take(100) in fresh for _ in fresh) == 0

    # Those of requests that failed are given back by nobody.
    slow.clear()
    gc.collect()
    for room in fresh:
        rooms.give_back(room)
    assert all(rooms.take(100) in fresh for _ in fresh)


async def test_none_is_kept_for_long_without_use(mock_clock):
    rooms = BodyRooms()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rooms.run)
        await trio.testing.wait_all_tasks_blocked()
        room = rooms.take(100)
        rooms.give_back(room)
        mock_clock.jump(KEPT_S)
        await trio.testing.wait_all_tasks_blocked()
        assert rooms.take(100) is room
        rooms.give_back(room)
        mock_clock.jump(KEPT_S)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(KEPT_S)
        await trio.testing.wait_all_tasks_blocked()
        assert rooms.take(100) is not room
        nursery.cancel_scope.cancel()
