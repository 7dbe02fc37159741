"""Ask a daemon's dashboard for its graph, by HTTP."""

from __future__ import annotations

import http.client
import ssl
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from meshware.dashboard.access import COOKIE, to_open
from meshware.errors import SettingsError, SyncError
from meshware.legible import legible
from meshware.terminal.edges import Edges, read_edges

__all__ = ["Dashboard", "parsed"]

_PATIENCE_S = 5.0
_MOST_BYTES = 64 * 1024 * 1024  # 4,000 edges take two


def parsed(url: str) -> SplitResult:
    """Return the address of a dashboard.

    Raises:
        SettingsError: it is none.
    """
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        is_whole = False
    if not is_whole or parts.username is not None or parts.query or parts.fragment:
        raise SettingsError(
            f"{url[:80]!r} is no address of a dashboard; write http://127.0.0.1:15090"
        )
    return parts


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A daemon's dashboard.

    Attributes:
        address: of it, as `parsed` returns it.
        token: that it asks for; None: it asks for none.
    """

    address: SplitResult
    token: str | None = None

    def edges(self, window_s: int) -> Edges:
        """Return the mesh over the last seconds.

        Raises:
            SyncError: nobody answers, or not with that.
        """
        where = legible(self.address.geturl())
        try:
            status, body = self._get(f"/api/graph?window={window_s}")
        except (OSError, ValueError, http.client.HTTPException) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise SyncError(
                f"no dashboard answers at {where}: {legible(why).lower()}; is `meshware sync` "
                "running there?"
            ) from error
        if status == 200:
            try:
                return read_edges(body)
            except SyncError as error:
                raise SyncError(f"{where} answers, but {error}") from error
        if status == 403:
            asked = "has another one" if self.token is not None else "asks for one"
            said = legible(" ".join(body[:200].decode("utf-8", "replace").split()))
            raise SyncError(
                f"the dashboard at {where} lets nobody in without its token, and {asked}: name its "
                "file by --dashboard-token-file"
                if "token" in said
                else f"the dashboard at {where} refuses: {said}"
            )
        if status == 404:
            raise SyncError(
                f"no dashboard is served at {where}: start `meshware sync` on a loopback address, "
                "or with --dashboard-token-file"
            )
        raise SyncError(f"{where} answers with status {status}; that is no meshware daemon")

    def _get(self, path: str) -> tuple[int, bytes]:
        parts = self.address
        host = to_open(parts.hostname or "")
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(
                host, parts.port, timeout=_PATIENCE_S, context=ssl.create_default_context()
            )
        else:
            connection = http.client.HTTPConnection(host, parts.port or 80, timeout=_PATIENCE_S)
        headers = {"accept": "application/json"}
        if self.token is not None:
            headers["cookie"] = f"{COOKIE}={self.token}"
        try:
            connection.request("GET", parts.path.rstrip("/") + path, headers=headers)
            response = connection.getresponse()
            body = response.read(_MOST_BYTES + 1)
        finally:
            connection.close()
        if len(body) > _MOST_BYTES:
            raise ValueError(f"its answer is longer than {_MOST_BYTES >> 20} MiB")
        return response.status, body
