"""Have the whole terminal for a while, and give it back as it was, however that ends.

1. On entering, the other screen is shown, the cursor hidden, and keys come one by one without echo.
2. Signals only note what happened and wake `wait`: a new size, an end, a stop by Ctrl-Z.
3. On leaving, in good order, by an exception or by a signal, all of that is undone. Who was ended
   by a signal then ends by it, so that whoever started us sees what happened.

Source: xterm's control sequences, "DEC Private Mode Set" 1049 and 25; termios(3).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import termios
import tty
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Screen", "keys_of"]

_ENTER = b"\x1b[?1049h\x1b[?25l\x1b[2J"
_LEAVE = b"\x1b[0m\x1b[?25h\x1b[?1049l"
_ENDING = (signal.SIGTERM, signal.SIGHUP)

_SEQUENCES = {
    "[A": "up", "[B": "down", "[C": "right", "[D": "left", "[H": "home", "[F": "end",
    "OA": "up", "OB": "down", "OC": "right", "OD": "left", "OH": "home", "OF": "end",
    "[5~": "page up", "[6~": "page down", "[1~": "home", "[4~": "end",
}  # fmt: skip


def keys_of(data: bytes) -> list[str]:
    """Return the keys that a terminal sent: characters, or names as `view.pressed` takes them."""
    text = data.decode("utf-8", "replace")
    keys: list[str] = []
    while text:
        if text[0] != "\x1b":
            keys.append(text[0])
            text = text[1:]
            continue
        text = text[1:]
        for sequence, name in _SEQUENCES.items():
            if text.startswith(sequence):
                keys.append(name)
                text = text[len(sequence) :]
                break
        else:
            # One that nobody asked for; what it consists of is no keys.
            end = next(
                (i for i, char in enumerate(text) if i and (char.isalpha() or char == "~")), 0
            )
            text = text[end + 1 :] if text.startswith(("[", "O")) else text
    return keys


class Screen:
    """The terminal, between entering and leaving. Of the main thread; `wake` is for any.

    Args:
        keyboard: descriptor of standard input; keys are read where it is a terminal.
        terminal: descriptor of standard output, a terminal.

    Attributes:
        is_ended: whoever watches wants no more: Ctrl-C, or the terminal is gone.
    """

    def __init__(self, keyboard: int = 0, terminal: int = 1) -> None:
        self._keyboard: int | None = keyboard if os.isatty(keyboard) else None
        self._terminal = terminal
        self._before: list[Any] | None = None
        self._handlers: dict[int, Any] = {}
        self._by: int | None = None  # the signal that ends us
        self._is_stopping = False
        self.is_ended = False

    def __enter__(self) -> Screen:
        """Take the terminal."""
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._waker, False)
        self._old_waker = signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGWINCH, signal.SIGTSTP, *_ENDING):
            self._handlers[number] = signal.signal(number, self._noted)
        try:
            self._take()
        except BaseException:
            self._give_back()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the terminal back; end by the signal that said so."""
        self._give_back()
        if self._by is not None:
            signal.signal(self._by, signal.SIG_DFL)
            os.kill(os.getpid(), self._by)

    def wake(self) -> None:
        """Have `wait` return."""
        with contextlib.suppress(OSError):  # it was woken already, or the screen is gone
            os.write(self._waker, b"\0")

    def wait(self) -> list[str]:
        """Wait for keys, a signal or `wake`. Returns the keys."""
        watched = [self._woken] + ([] if self._keyboard is None else [self._keyboard])
        ready, _, _ = select.select(watched, [], [])
        keys: list[str] = []
        if self._woken in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._woken, 4096)
        if self._keyboard is not None and self._keyboard in ready:
            try:
                data = os.read(self._keyboard, 1024)
            except OSError:
                data = b""
            if not data:
                self.is_ended = True
            keys = keys_of(data)
        if self._is_stopping:
            self._stop()
        return keys

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines; what most terminals have where it does not tell."""
        try:
            columns, lines = os.get_terminal_size(self._terminal)
        except OSError:
            columns = lines = 0
        return columns or 80, lines or 24

    def draw(self, lines: Sequence[str], encoding: str) -> None:
        """Show lines, none of which is wider than the terminal."""
        text = "\r\n".join(f"\x1b[2K{line}" for line in lines)
        self._write(b"\x1b[H" + text.encode(encoding, "backslashreplace") + b"\x1b[J")

    # --- inside -------------------------------------------------------------------------------

    def _take(self) -> None:
        if self._keyboard is not None:
            self._before = termios.tcgetattr(self._keyboard)
            tty.setcbreak(self._keyboard, termios.TCSADRAIN)
        self._write(_ENTER)

    def _let_go(self) -> None:
        self._write(_LEAVE)
        if self._keyboard is not None and self._before is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._keyboard, termios.TCSADRAIN, self._before)

    def _give_back(self) -> None:
        self._let_go()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_waker)
        waker, self._waker = self._waker, -1
        os.close(waker)
        os.close(self._woken)

    def _noted(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGTSTP:
            self._is_stopping = True
        elif number in _ENDING:
            self._by, self.is_ended = number, True
        elif number == signal.SIGINT:
            self.is_ended = True

    def _stop(self) -> None:
        """Stop as the shell wants it, with its terminal in order; then take it again."""
        self._is_stopping = False
        self._let_go()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()

    def _write(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._terminal, data) :]
        except OSError:
            self.is_ended = True  # nobody is there to see it
