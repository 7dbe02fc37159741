"""Hooks run when a module is imported, and leave no trace."""

from __future__ import annotations

import importlib
import importlib.util
import sys

import pytest

from meshware.run.hooks import HOOKS, Finder, has, load_hook, watch


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A module `waited_for`, and a module of hooks that note what they were called with."""
    (tmp_path / "waited_for.py").write_text("import run_notes\nrun_notes.order.append('module')\n")
    (tmp_path / "run_notes.py").write_text(
        "order = []\nmodules = []\n"
        "def hook(module):\n    order.append('hook')\n    modules.append(module)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    yield importlib.import_module("run_notes")
    for name in ("waited_for", "run_notes"):
        sys.modules.pop(name, None)


TABLE = {"waited_for": "run_notes:hook"}


def test_a_hook_runs_behind_its_module(world):
    """It gets the module, executed whole, before who imports it does."""
    watch(TABLE)
    assert world.order == []
    module = importlib.import_module("waited_for")
    assert world.order == ["module", "hook"]
    assert world.modules == [module]


def test_a_module_that_is_there_already_is_hooked_at_once(world):
    """Whoever imported it first."""
    module = importlib.import_module("waited_for")
    watch(TABLE)
    assert world.modules == [module]


def test_the_finder_stands_there_once(world):
    """A second call changes nothing."""
    watch(TABLE)
    watch(TABLE)
    assert len([finder for finder in sys.meta_path if isinstance(finder, Finder)]) == 1
    importlib.import_module("waited_for")
    assert world.order == ["module", "hook"]


def test_a_module_that_is_executed_again_is_hooked_again(world):
    """A reload makes new functions, without the mesh."""
    watch(TABLE)
    module = importlib.import_module("waited_for")
    importlib.reload(module)
    assert world.order == ["module", "hook"] * 2


def test_nothing_of_the_finder_is_left_in_the_module(world):
    """Who asks a module for its loader gets the true one."""
    watch(TABLE)
    module = importlib.import_module("waited_for")
    assert module.__spec__.loader is module.__loader__
    assert type(module.__loader__).__name__ == "SourceFileLoader"


def test_to_look_for_a_module_runs_nothing(world):
    """The spec that is found answers like any other."""
    watch(TABLE)
    spec = importlib.util.find_spec("waited_for")
    assert spec.loader.get_source("waited_for").startswith("import run_notes")
    assert world.order == []


def test_a_module_that_is_not_there_is_missing_as_ever(world):
    """No other finder knows it."""
    watch({"no_such_module_here": "run_notes:hook"})
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("no_such_module_here")


def test_a_module_that_fails_has_no_hook(world, tmp_path):
    """Its own error is what the importer sees, and it is imported anew the next time."""
    (tmp_path / "waited_for.py").write_text("raise ValueError('its own')\n")
    watch(TABLE)
    with pytest.raises(ValueError, match="its own"):
        importlib.import_module("waited_for")
    assert world.order == []


def test_other_finders_are_asked(world):
    """A module that somebody else's finder knows is hooked, too."""

    class Other:
        @staticmethod
        def find_spec(name, path, target=None):
            if name != "of_another":
                return None
            return importlib.util.spec_from_loader(name, Loader())

    class Loader:
        @staticmethod
        def create_module(spec):
            return None

        @staticmethod
        def exec_module(module):
            module.is_run = True

    sys.meta_path.insert(0, Other())
    watch({"of_another": "run_notes:hook"})
    module = importlib.import_module("of_another")
    assert module.is_run
    assert world.modules == [module]
    del sys.modules["of_another"]


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_there(name):
    """A name in the table is a function of that module."""
    assert callable(load_hook(HOOKS[name]))


def test_to_ask_for_a_module_imports_nothing(world):
    """`has` only looks."""
    assert has("waited_for")
    assert not has("no_such_module_here")
    assert "waited_for" not in sys.modules
