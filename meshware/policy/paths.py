r"""The one normaliser: which paths a request may mean, for everything that decides on a path.

What the client sent and what the app is handed can differ (servers decode `%2f`, frameworks resolve
or ignore dots), so a decision looks at every path that the request may mean:

=====  ==========================================================================================
N1     the target as received, normalised
N2     the path as the app sees it, percent-encoded, normalised
N3     the path as the app sees it, percent-encoded and nothing else: apps do not resolve dots
N4     N3 with the mode's slashes: `\` taken for one, and runs of them merged, for Flask ignores all
       leading ones but one and resolves no dots all the same
N5     N4 with its dots resolved: what serves files takes `/a//../b` for `/b`, N1 for `/a/b`
=====  ==========================================================================================

DENY holds if it matches any of them, ALLOW only if each of them is allowed. Where MeshConfig
chooses a milder mode than the default, DENY holds for what the default makes of the request as
well: an app may take `//` for `/` whatever was chosen. For an ordinary path they are one and the
same. Paths are compared percent-encoded, with `%hh` in capitals (RFC 3986, 6.2.2.1): what a client
left unescaped that cannot stand in a path is escaped, as in what the app sees.

Source: Istio MeshConfig `pathNormalization`; Envoy, "normalize_path", "path_with_escaped_slashes".
Differs from Istio: the default is DECODE_AND_MERGE_SLASHES, since every Python server decodes.
"""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import quote, unquote

__all__ = [
    "DEFAULT_NORMALIZATION",
    "Normalization",
    "as_compared",
    "candidates",
    "capital_hex",
    "decoded",
    "encoded",
    "has_control",
    "is_plain",
    "normalise",
    "written",
]

Normalization = Literal["NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"]

DEFAULT_NORMALIZATION: Normalization = "DECODE_AND_MERGE_SLASHES"

_MERGING = ("MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES")

# Characters that may stand unescaped in a path (RFC 3986 pchar), without the unreserved ones.
_RESERVED_IN_PATH = "!$&'()*+,;=:@"
# Nothing to decode, to merge or to resolve: segments that are not empty and begin with no dot.
_PLAIN = re.compile(r"(?:/[\w~!$&'()*+,;=:@-][\w.~!$&'()*+,;=:@-]*)*/?", re.ASCII)
is_plain = _PLAIN.fullmatch
"""Say whether a path has nothing to decode, to merge or to resolve, in whatever mode."""
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_UNESCAPED = re.compile(r"%(?![0-9A-Fa-f]{2})|[^\w.~!$&'()*+,;=:@/\\%?#-]", re.ASCII)
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_ESCAPED_UNRESERVED = re.compile(
    r"%(?:2[dDeE]|3[0-9]|4[1-9a-fA-F]|5[0-9aAfF]|6[1-9a-fA-F]|7[0-9aAeE])"
)
_ESCAPED_SLASH = re.compile(r"%2[fF]|%5[cC]")
_SLASHES = re.compile(r"/{2,}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def normalise(path: str, mode: Normalization) -> str | None:
    """Return a path as Istio's proxy would hand it to the app; None: it refuses it (400).

    Args:
        path: the path of a request target, still percent-encoded, without its query.
        mode: MeshConfig's.
    """
    path = path.partition("#")[0]
    if mode == "NONE":
        return path
    if "%00" in path:
        return None
    if _PLAIN.fullmatch(path):
        return path
    if mode == "DECODE_AND_MERGE_SLASHES":
        path = _ESCAPED_SLASH.sub(lambda found: "/" if found[0][1] == "2" else "\\", path)
    path = _ESCAPED_UNRESERVED.sub(lambda found: chr(int(found[0][1:], 16)), path)
    path = path.replace("\\", "/")
    path = _without_dots(path)
    if mode != "BASE":
        path = _SLASHES.sub("/", path)
    return path


def candidates(
    target: str | None, app_paths: tuple[str, ...], mode: Normalization
) -> tuple[str, ...] | None:
    """Return every path that a request may mean, the likeliest first; None: refuse it (400).

    Args:
        target: the path of the request target as received, without its query; None: the server
            does not say.
        app_paths: the path as the app sees it, decoded; several where it may see several.
        mode: how to normalise.
    """
    if len(app_paths) == 1 and (target is None or target == app_paths[0]):
        path = app_paths[0]
        if _PLAIN.fullmatch(path):
            return (path,)
    found: list[str] = []
    if target is not None:
        first = normalise(target, mode)
        if first is None:
            return None
        found.append(as_compared(first))
    for app_path in app_paths:
        as_seen = encoded(app_path)
        second = normalise(as_seen, mode)
        if second is None:
            return None
        found += (as_compared(second), as_seen)
        if mode != "NONE":
            as_seen = as_seen.replace("\\", "/")
            if mode in _MERGING:
                as_seen = _SLASHES.sub("/", as_seen)
                found.append(_without_dots(as_seen))
            found.append(as_seen)
    return tuple(dict.fromkeys(found))


def as_compared(path: str) -> str:
    """Return an encoded path as paths are compared: all escaped that must be, in capitals.

    Bytes of a request target that are no ASCII are its characters up to U+00FF, as servers hand it
    over. A `?` or `#` stays: no path has one.
    """
    if _UNESCAPED.search(path):
        path = _UNESCAPED.sub(lambda found: _escaped(found[0]), path)
    return capital_hex(path)


def capital_hex(path: str) -> str:
    """Return a path with its percent-escapes in capitals."""
    if "%" not in path:
        return path
    return _ESCAPE.sub(lambda found: found[0].upper(), path)


def written(value: str) -> str:
    """Return a path that a policy writes, no template, as paths are compared."""
    if not value.isascii():
        value = _NOT_ASCII.sub(lambda found: quote(found[0], errors="surrogatepass"), value)
    return as_compared(value)


def encoded(path: str) -> str:
    """Return a decoded path with what cannot stand in one percent-encoded, as UTF-8."""
    try:
        # The second half of a surrogate pair stands for a byte that was not UTF-8.
        data = path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        data = path.encode("utf-8", "surrogatepass")  # no server makes the first half
    return quote(data, safe="/\\" + _RESERVED_IN_PATH)


def decoded(path: str) -> str:
    """Return an encoded path as servers hand it to apps; bytes that are no UTF-8 become U+FFFD."""
    return unquote(path, errors="replace") if "%" in path else path


def has_control(path: str) -> bool:
    """Say whether a decoded path holds control characters, which no honest path does."""
    if path.isascii() and path.isprintable():  # the usual case, in a tenth of the time
        return False
    return _CONTROL.search(path) is not None


def _escaped(character: str) -> str:
    return f"%{ord(character):02X}" if character <= "\xff" else encoded(character)


def _without_dots(path: str) -> str:
    """Resolve `.` and `..`; an empty segment counts as one, as in Envoy's normaliser."""
    if "/." not in path:
        return path
    segments = path.split("/")
    kept: list[str] = []
    for segment in segments[1:]:
        if segment == "..":
            if kept:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return segments[0] + "/" + "/".join(kept)
