"""What a rule asks of a connection, whichever library makes it: its socket, and its life.

A connection is given up when it is next looked at, which is when it becomes free and when a call
looks for one. Nothing runs while nobody calls.
"""

from __future__ import annotations

import socket
import sys
import time

from meshware.clients.deadline import SocketOption
from meshware.policy.pool_rule import PoolRule

__all__ = ["Life", "socket_options"]

_NO_DELAY: SocketOption = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
# Darwin has the option under another name, which Python knows from 3.10 on.
_KEEP_IDLE: int = getattr(socket, "TCP_KEEPALIVE" if sys.platform == "darwin" else "TCP_KEEPIDLE")


def socket_options(rule: PoolRule) -> tuple[SocketOption, ...]:
    """Return the options of a TCP socket, to be set before or after connecting."""
    keepalive = rule.keepalive
    if keepalive is None:
        return (_NO_DELAY,)
    options: list[SocketOption] = [_NO_DELAY, (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for option, value in (
        (_KEEP_IDLE, keepalive.idle_s),
        (socket.TCP_KEEPINTVL, keepalive.interval_s),
        (socket.TCP_KEEPCNT, keepalive.probes),
    ):
        if value is not None:
            options.append((socket.IPPROTO_TCP, option, value))
    return tuple(options)


class Life:
    """How long one connection may be used. Its user tells what happens to it, in any thread.

    Args:
        rule: of its pool. The connection is made now.
    """

    __slots__ = ("_idle_s", "_idle_until", "_requests_left", "_until")

    def __init__(self, rule: PoolRule) -> None:
        self._idle_s = rule.idle_s
        self._idle_until: float | None = None
        self._requests_left = rule.requests
        self._until = None if rule.age_s is None else time.monotonic() + rule.age_s

    def end_by(self, left_s: float) -> None:
        """Let it end earlier: in so many seconds at the latest."""
        until = time.monotonic() + left_s
        self._until = until if self._until is None else min(self._until, until)

    def begin(self) -> None:
        """Say that a request begins to go over it."""
        self._idle_until = None
        if self._requests_left is not None:
            self._requests_left -= 1

    def rest(self) -> None:
        """Say that it is free, its last response being read."""
        self._idle_until = None if self._idle_s is None else time.monotonic() + self._idle_s

    def is_over(self) -> bool:
        """Say whether it is to be closed rather than used for another request."""
        if self._requests_left is not None and self._requests_left <= 0:
            return True
        now: float | None = None
        for until in (self._until, self._idle_until):
            if until is not None:
                now = time.monotonic() if now is None else now
                if now >= until:
                    return True
        return False
