"""The `meshware` command."""

from __future__ import annotations

from meshware.cli.main import main

__all__ = ["main"]
