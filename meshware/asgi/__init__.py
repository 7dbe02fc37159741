"""Inbound for ASGI apps: Starlette, FastAPI, Django and any other, on any ASGI server."""

from meshware.asgi.middleware import MeshMiddleware

__all__ = ["MeshMiddleware"]
