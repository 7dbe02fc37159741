"""What every Python process below `meshware run` executes first.

The directory of this file stands first in PYTHONPATH, so that Python's `site` imports it. It
puts up the hooks that bring the mesh in when a server or framework is imported, and then lets the
`sitecustomize` run that would have run without it. Without MESHWARE_RUN it does only the latter.

An interpreter that has no meshware cannot be brought into the mesh, and must not serve without:

1. the command itself (MESHWARE_RUN is its process id) ends at once, with exit code 2;
2. any other process may be a tool that the app calls, so it goes on, until it imports a server or
   framework: then it ends with exit code 2.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 (pathlib is not loaded)
_OURS = (_HERE, os.path.dirname(__file__))  # noqa: PTH120 (as PYTHONPATH has it)


def _run_hooks() -> dict[str, Any]:
    """Return what `meshware/run/hooks.py` defines, without importing meshware."""
    from importlib.machinery import SourceFileLoader

    name = "meshware.run.hooks"
    path = os.path.join(os.path.dirname(_HERE), "hooks.py")  # noqa: PTH118, PTH120 (as above)
    names: dict[str, Any] = {"__name__": name, "__file__": path}
    code = SourceFileLoader(name, path).get_code(name)
    if code is None:
        raise ImportError(path)
    exec(code, names)
    return names


def _install() -> None:
    command = os.environ.get("MESHWARE_RUN")
    if not command:
        return
    try:
        names = _run_hooks()
        if names["has"]("meshware"):
            names["watch"](names["HOOKS"])
        elif command == str(os.getpid()):
            names["fail"](names["MISSING"].format(sys.executable))
        else:
            names["watch_without_meshware"]()
    except Exception as error:
        message = "meshware run: this process cannot be prepared (%s: %s)\n"
        os.write(2, (message % (type(error).__name__, error)).encode("utf-8", "replace"))
        os._exit(2)


def _next() -> None:
    """Run the `sitecustomize` that stands behind this one, in this one's place."""
    from importlib.machinery import PathFinder

    spec = PathFinder.find_spec("sitecustomize", sys.path)
    if spec is None or spec.loader is None:
        return
    from importlib.util import module_from_spec

    module = module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


_install()
sys.path[:] = [entry for entry in sys.path if entry not in _OURS]
_next()
