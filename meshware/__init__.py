"""meshware: the service mesh without the proxy, for Python.

Middleware decides every inbound call, a client transport every outbound one, both by one policy
file that `meshware sync` keeps current. What is here:

- `Mesh`: the root object; `Mesh.from_env()`, `Mesh.current()`.
- `current_call()`: the inbound call that this code runs for.
- `authorizer(name)`: make a function an authorizer that policy can ask; see `meshware.authz`.
- `install()`: have threads and executors carry it, too.
- `meshware.errors`: every exception that meshware raises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshware import authz, errors
from meshware.authz import authorizer
from meshware.call import Call, Peer, current_call

if TYPE_CHECKING:
    from meshware.runtime.context import install
    from meshware.runtime.mesh import Mesh

__all__ = [
    "Call",
    "Mesh",
    "Peer",
    "authorizer",
    "authz",
    "current_call",
    "errors",
    "install",
]


def __getattr__(name: str) -> Any:
    """Import what needs more than the standard library when it is asked for."""
    if name == "Mesh":
        from meshware.runtime.mesh import Mesh

        return Mesh
    if name == "install":
        from meshware.runtime.context import install

        return install
    raise AttributeError(f"module 'meshware' has no attribute {name!r}")
