"""The response of a call that was let in, as it goes by: its status, its headers, its end."""

from __future__ import annotations

from functools import partial

import msgspec

from meshware.asgi.head import Message, Send, header_values
from meshware.asgi.tally import count_sent
from meshware.call import MessageEdit
from meshware.inbound.passage import Admission

__all__ = ["Response"]

_ANSWERS = (
    "http.response.start", "websocket.http.response.start", "websocket.accept", "websocket.close",
)  # fmt: skip

_SERVER_ERROR = 500
_CLOSE = MessageEdit(frozenset({"connection"}), (("connection", "close"),))
"""Asks a server of HTTP/1 to close the connection behind a response (RFC 9112, 9.6)."""


class Response(msgspec.Struct, eq=False):  # made for each call
    """What an app sends.

    Attributes:
        sends: the server's `send`.
        admission: of the call.
        status: of the response; 0: there is none yet. Of a WebSocket that was accepted, 101.
        is_gone: nobody listens any more.
        is_whole: it has ended, and its call has not: what the app raises is to be told of it.
    """

    sends: Send
    admission: Admission
    status: int = 0
    has_trailers: bool = False
    is_gone: bool = False
    is_whole: bool = False

    async def send(self, message: Message) -> None:
        """Pass on one message."""
        admission, kind = self.admission, message["type"]
        if kind == "http.response.body":
            admission.sent_bytes += len(message.get("body", b""))
            is_last = not message.get("more_body", False) and not self.has_trailers
        elif kind in _ANSWERS:
            is_last = kind == "websocket.close"
            message = self._begins(message, kind)
        else:
            count_sent(message, admission)
            is_last = _is_last(message, self.has_trailers)
        try:
            await self.sends(message)
        except OSError:
            self.is_gone = True  # so servers tell an app that nobody listens any more
            raise
        if is_last:
            # What the app does behind its response (background tasks) is not the caller's.
            if self.status < _SERVER_ERROR:
                admission.finish(self.status)
            else:  # whoever has caught an exception of the app's answers, and raises it again
                self.is_whole = True
                admission.ends()

    def _begins(self, message: Message, kind: str) -> Message:
        """Note what a response begins with. Returns it as it goes out."""
        admission = self.admission
        if kind == "http.response.start" or kind == "websocket.http.response.start":  # noqa: PLR1714
            self.status = message["status"]
            self.has_trailers = message.get("trailers", False)
            if admission.response is not None:
                message = _edited(message, admission.response)
            admission.answers(partial(header_values, message.get("headers", ())))
            if admission.is_last and admission.head.version.startswith("1"):
                message = _edited(message, _CLOSE)
        elif kind == "websocket.accept":
            self.status = 101
            if admission.response is not None:
                message = _edited(message, admission.response)
        elif not self.status:
            self.status = 403  # so the server answers a handshake that was not accepted
        span = admission.call.span
        if span is not None:
            span.answers(admission, self.status)
        return message


def _edited(message: Message, edit: MessageEdit) -> Message:
    """Return the start of a response with its headers changed."""
    kept = [
        (name, value)
        for name, value in message.get("headers", ())
        if name.lower().decode("latin-1") not in edit.drop
    ]
    added = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in edit.append]
    return {**message, "headers": kept + added}


def _is_last(message: Message, has_trailers: bool) -> bool:
    """Say whether a message ends the response."""
    match message["type"]:
        case "http.response.zerocopysend":
            return not message.get("more_body", False) and not has_trailers
        case "http.response.pathsend":
            return not has_trailers
        case "http.response.trailers":
            return not message.get("more_trailers", False)
        case "websocket.http.response.body":
            return not message.get("more_body", False)
        case _:
            return False
