"""The sockets that the daemon, or its front processes, listen on."""

import socket

import trio

from daemon.config import Config

BACKLOG = 1024


async def listen(config: Config) -> list[list[socket.socket]]:
    """For each front, or the daemon itself, the sockets of every address that the host has. Raises OSError that says what to
    change."""
    try:
        found = await trio.socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        port = config.port
        listening: list[list[socket.socket]] = [[] for _ in range(config.fronts or 1)]
        for family, _, _, _, address in found:
            if config.fronts:
                # Sockets that share a port share it with another daemon's as well; one that does not, finds that out.
                _bound(family, address, shared=False).close()
            for sockets in listening:
                sockets.append(_bound(family, (address[0], port, *address[2:]), shared=bool(config.fronts)))
                # A port that was left to the system is the same for all.
                port = port or sockets[-1].getsockname()[1]
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OSError(
            f"can't listen on {config.host}:{config.port}, {reason}; stop what listens there, or choose --host and --port"
        ) from error
    return listening


def _bound(family: int, address: tuple[object, ...], *, shared: bool) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
        one.listen(BACKLOG)
    except BaseException:
        one.close()
        raise
    return one
