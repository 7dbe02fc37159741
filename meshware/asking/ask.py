"""Carry out what the gate asks of the drivers: find the authorizer, and ask it.

Nothing here raises but cancellation: an authorizer that cannot be asked has not allowed anything.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from meshware.asking.functions import ask_function, ask_function_async
from meshware.asking.http import ask_http, ask_http_async
from meshware.authz import Request
from meshware.inbound.asking import NoAnswer, Outcome, Unknown
from meshware.inbound.passage import Ask
from meshware.policy.authorizers import HttpAuthorizer
from meshware.runtime.mesh import Mesh

__all__ = ["ask", "ask_async"]

_log = logging.getLogger("meshware.authorizers")


def ask(mesh: Mesh, asked: Ask, body: bytes | None, *, is_whole: bool) -> Outcome:
    """Ask an authorizer, in this thread.

    Args:
        mesh: of the process.
        asked: what the gate wants to know.
        body: of the request, as far as the authorizer is shown it; None: it is not.
        is_whole: the body is all of it.
    """
    authorizer, request = asked.authorizer, asked.request
    try:
        if isinstance(request, Request):
            function = mesh.authorizer(authorizer.name)
            if function is None:
                return Unknown()
            shown = replace(request, body=body, is_body_whole=is_whole)
            return ask_function(authorizer.name, function, shown, authorizer.timeout_s)
        if isinstance(authorizer, HttpAuthorizer) and mesh.opens_connections:
            return ask_http(mesh, authorizer, request, body, is_whole=is_whole)
    except Exception as error:
        return _failed(authorizer.name, error)
    return NoAnswer("connections are not opened here")


async def ask_async(mesh: Mesh, asked: Ask, body: bytes | None, *, is_whole: bool) -> Outcome:
    """Ask an authorizer, in this task; see `ask`."""
    authorizer, request = asked.authorizer, asked.request
    try:
        if isinstance(request, Request):
            function = mesh.authorizer(authorizer.name)
            if function is None:
                return Unknown()
            shown = replace(request, body=body, is_body_whole=is_whole)
            return await ask_function_async(authorizer.name, function, shown, authorizer.timeout_s)
        if isinstance(authorizer, HttpAuthorizer) and mesh.opens_connections:
            return await ask_http_async(mesh, authorizer, request, body, is_whole=is_whole)
    except Exception as error:
        return _failed(authorizer.name, error)
    return NoAnswer("connections are not opened here")


_told: set[str] = set()


def _failed(name: str, error: Exception) -> NoAnswer:
    key = f"{name} {type(error).__name__}"
    if key not in _told and len(_told) < 100:
        _told.add(key)
        _log.error("authorizer %r cannot be asked, told once: %s", name, error, exc_info=error)
    return NoAnswer(type(error).__name__)
