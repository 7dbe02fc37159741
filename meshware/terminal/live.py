"""Show the table on a whole screen; a thread asks the daemon, so that no key waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from meshware.errors import MeshError
from meshware.terminal.edges import Edges
from meshware.terminal.screen import Screen
from meshware.terminal.view import Quit, View, frame, pressed

__all__ = ["watch"]


@dataclass(frozen=True, slots=True)
class _News:
    """What came of asking last."""

    edges: Edges
    trouble: str | None = None


class _Asker:
    """Asks again and again, from `start` to `end`."""

    def __init__(
        self, ask: Callable[[], Edges], first: Edges, interval_s: float, on_news: Callable[[], None]
    ) -> None:
        self.news = _News(first)  # replaced whole
        self._ask = ask
        self._interval_s = interval_s
        self._on_news = on_news
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="meshware-top", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Ask no more; an answer that is waited for is not, and the process may end."""
        self._is_over.set()

    def _run(self) -> None:
        while not self._is_over.wait(self._interval_s):
            try:
                self.news = _News(self._ask())
            except (MeshError, OSError) as error:
                self.news = _News(self.news.edges, str(error))
            if not self._is_over.is_set():
                self._on_news()


def watch(
    ask: Callable[[], Edges],
    where: str,
    view: View,
    *,
    interval_s: float,
    is_coloured: bool,
    encoding: str,
    screen: Screen | None = None,
) -> None:
    """Show the mesh until somebody has seen enough.

    Args:
        ask: returns the mesh as it is now; asked in a thread of its own.
        where: the daemon's address, for the title.
        view: how the table is looked at to begin with.
        interval_s: seconds between an answer and asking again.
        is_coloured: whether there may be colours.
        encoding: of the terminal.
        screen: the terminal; None: that of standard input and output.

    Raises:
        MeshError: nobody answers when asked first. Later on that is shown, and asked again.
    """
    first = ask()
    with screen or Screen() as shown:
        asker = _Asker(ask, first, interval_s, shown.wake)
        asker.start()
        news = asker.news
        try:
            while not shown.is_ended:
                news = news if view.is_paused else asker.news
                columns, lines = shown.size
                shown.draw(
                    frame(
                        view,
                        news.edges,
                        columns=columns,
                        lines=lines,
                        where=where,
                        trouble=news.trouble,
                        is_coloured=is_coloured,
                        encoding=encoding,
                    ),
                    encoding,
                )
                for key in shown.wait():
                    view = pressed(view, key, news.edges, max(lines - 4, 1))
        except Quit:
            pass
        finally:
            asker.end()
