"""Apps whose handlers count their runs, and policy by route, function and operationId."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from inbound_world import policy
from starlette.responses import PlainTextResponse

__all__ = ["Runs", "by_handler", "ours"]


def ours(action: str, *operations: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """An AuthorizationPolicy of the mesh's own kind, with one rule."""
    rule: dict[str, Any] = {"to": [{"operation": dict(operation)} for operation in operations]}
    made = policy(action, rule | more, name=f"by-handler-{action.lower()}")
    return made | {"apiVersion": "meshware.dev/v1alpha1"}


def by_handler(**operation: list[str]) -> dict[str, Any]:
    """An operation of that kind."""
    return dict(operation)


class Runs(Counter[str]):
    """How often each handler ran."""

    def starlette(self, name: str) -> Callable[..., Any]:
        """A handler of Starlette's."""

        async def handler(request: Any) -> PlainTextResponse:
            self[name] += 1
            return PlainTextResponse(name)

        return self._named(handler, name)

    def plain(self, name: str) -> Callable[..., Any]:
        """A handler of Flask's, whatever its parameters."""

        def handler(**_: Any) -> str:
            self[name] += 1
            return name

        return self._named(handler, name)

    def fastapi(self, name: str) -> Callable[..., Any]:
        """A handler of FastAPI's, which makes parameters of the query of what it takes."""

        def handler() -> str:
            self[name] += 1
            return name

        return self._named(handler, name)

    def django(self, name: str) -> Callable[..., Any]:
        """A view of Django's."""

        def handler(request: Any, **_: Any) -> Any:
            from django.http import HttpResponse

            self[name] += 1
            return HttpResponse(name)

        return self._named(handler, name)

    def _named(self, handler: Callable[..., Any], name: str) -> Callable[..., Any]:
        handler.__name__ = handler.__qualname__ = name
        handler.__module__ = "shop.api"
        return handler
