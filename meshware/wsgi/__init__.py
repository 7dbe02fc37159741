"""Inbound for WSGI apps: Flask, Django and any other, on any WSGI server."""

from meshware.wsgi.middleware import MeshMiddleware

__all__ = ["MeshMiddleware"]
