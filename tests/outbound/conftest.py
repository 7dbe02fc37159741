"""Fixtures of the outbound tests."""

from __future__ import annotations

import pytest
from outbound_world import World


@pytest.fixture
def make_world() -> type[World]:
    """Make a world from policies."""
    return World


@pytest.fixture
def world() -> World:
    """A world with two endpoints behind `orders` and no VirtualService."""
    return World()
