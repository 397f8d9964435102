"""What Trio and h11 cost by themselves: every POST is read to its end and answered with the same few bytes.

The measure that scripts/bench holds siltstoned against. It does what h11's own Trio example does, without its safety.
"""

from email.utils import formatdate

import h11
import trio

ANSWER = b'{"successful_rows": 1, "quarantined_rows": 0}'
READ_BYTES = 64 * 1024


async def answer_all(stream: trio.SocketStream) -> None:
    connection = h11.Connection(h11.SERVER)
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some(READ_BYTES))
        elif isinstance(event, h11.ConnectionClosed):
            return
        elif isinstance(event, h11.EndOfMessage):
            headers = [
                ("Date", formatdate(usegmt=True)),
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(ANSWER))),
            ]
            data = connection.send(h11.Response(status_code=200, headers=headers)) or b""
            data += connection.send(h11.Data(data=ANSWER)) or b""
            data += connection.send(h11.EndOfMessage()) or b""
            await stream.send_all(data)
            if connection.our_state is h11.MUST_CLOSE:
                return
            connection.start_next_cycle()


async def handle(stream: trio.SocketStream) -> None:
    try:
        await answer_all(stream)
    except (trio.BrokenResourceError, h11.RemoteProtocolError):
        # The load generator leaves in the middle of a body when its time is up.
        pass
    finally:
        await trio.aclose_forcefully(stream)


async def main() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    print(f"bare server listening on http://127.0.0.1:{port}", flush=True)
    await trio.serve_listeners(handle, listeners)


if __name__ == "__main__":
    trio.run(main)
