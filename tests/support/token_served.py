"""Apps for real servers that answer who calls, by token identity alone: `wsgi` and `asgi`."""

from __future__ import annotations

import json
import os
import time

from meshware.asgi.head import inbound_head as asgi_head
from meshware.identity.bundle import Bundle, Bundles
from meshware.identity.replays import ReplayCache
from meshware.identity.wimse import KnownWorkloads
from meshware.inbound.tokens import TokenRefusal, check_tokens
from meshware.wsgi.head import inbound_head as wsgi_head

_BUNDLES = Bundles([Bundle("cluster.local", (), (), tuple(json.loads(os.environ["TOKEN_KEYS"])))])
_REPLAYS, _KNOWN = ReplayCache(), KnownWorkloads()


def answer(head) -> tuple[int, bytes]:
    """Who calls, or why nobody does."""
    found = check_tokens(
        head,
        _BUNDLES,
        audience=os.environ["TOKEN_AUDIENCE"],
        now=time.time(),
        replays=_REPLAYS,
        known=_KNOWN,
    )
    if isinstance(found, TokenRefusal):
        return found.status, found.reason.encode()
    return 200, b"nobody" if found is None else str(found.id).encode()


def wsgi(environ, start_response):
    """Answer whatever is asked."""
    status, body = answer(wsgi_head(environ, None))
    start_response(f"{status} X", [("content-length", str(len(body)))])
    return [body]


async def asgi(scope, receive, send):
    """Answer whatever is asked."""
    if scope["type"] != "http":
        raise RuntimeError("only http")
    status, body = answer(asgi_head(scope, receive, None))
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
