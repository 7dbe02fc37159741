"""The connection that this task serves, for servers that let nobody find it.

Our listener notes it in the context in which a server makes its tasks. Only a driver that has seen
that a call comes from such a server may ask: tasks of an app inherit the context too.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

__all__ = ["Connected", "connected"]


class Connected:
    """One connection, once it is made."""

    __slots__ = ("transport",)

    def __init__(self) -> None:
        self.transport: Any = None


connected: ContextVar[Connected | None] = ContextVar("meshware_connected", default=None)
"""The connection whose task this is."""
