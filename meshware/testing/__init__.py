"""Test kit: a mesh over policy text, a clock and chance that tests move by hand."""

from meshware.testing.fakes import FakeClock, ScriptedRandom
from meshware.testing.mesh import TestMesh

__all__ = ["FakeClock", "ScriptedRandom", "TestMesh"]
