"""Messages and sockets between the daemon and a front process."""

import os
import socket

import trio

from daemon.link import Kind, Link


async def test_a_socket_that_can_not_be_sent_any_more_is_closed():
    """Else its client waits for ever: nobody serves it, and nobody ends it."""
    ours, theirs = socket.socketpair()
    link = Link(ours)
    theirs.close()
    reading, passed = os.pipe()
    link.post(Kind.GIVE_BACK, descriptor=passed)
    link.flush()
    link.close()

    with trio.fail_after(5):
        await trio.lowlevel.wait_readable(reading)
    assert os.read(reading, 1) == b""
    os.close(reading)


async def test_a_socket_of_a_message_that_never_came_whole_is_closed():
    ours, theirs = socket.socketpair()
    reading, passed = os.pipe()
    socket.send_fds(theirs, [b"\x40\0\0\0half a message"], [passed])
    os.close(passed)
    theirs.close()
    link = Link(ours)

    assert [messages async for messages in link.messages()] == []
    with trio.fail_after(5):
        await trio.lowlevel.wait_readable(reading)
    assert os.read(reading, 1) == b""
    os.close(reading)
    link.close()
