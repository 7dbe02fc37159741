"""TLS for hypercorn on asyncio and uvloop.

`install()` makes its servers speak as policy says, in this process. hypercorn starts its workers
afresh, so that they know nothing of it: `MeshConfig` tells them, and so does an app's own module.
On trio it speaks what it always did, and a STRICT port refuses every call.
"""

from __future__ import annotations

from typing import Any

from hypercorn.asyncio import run
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.config import Config

from meshware.servers.asyncio_module import stand_in

__all__ = ["MeshConfig", "install"]


class _TellingServer(TCPServer):
    """A connection that tells the app of TLS."""

    async def run(self) -> None:
        connection = self.writer.get_extra_info("ssl_object")
        if connection is not None:
            from meshware.servers.tls_extension import with_tls

            self.app = with_tls(self.app, connection)  # type: ignore[assignment]
        await super().run()


def install() -> None:
    """Make every hypercorn server of this process speak as policy says. Idempotent.

    Raises:
        SettingsError: this version of hypercorn is not known.
    """
    stand_in(run)
    vars(run)["TCPServer"] = _TellingServer


class MeshConfig(Config):
    """A configuration whose servers speak as policy says, in whichever process it arrives."""

    def __init__(self) -> None:
        super().__init__()
        install()

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        install()
