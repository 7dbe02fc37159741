"""Which paths a request may mean, for every step that decides on one.

What they are is the normaliser's matter (`meshware.policy.paths`); here is which of them a request
has, by what MeshConfig says of paths and by what the server hands over.
"""

from __future__ import annotations

import msgspec

from meshware.inbound.head import InboundHead, is_below
from meshware.inbound.wellformed import split_target
from meshware.policy.paths import (
    DEFAULT_NORMALIZATION,
    Normalization,
    candidates,
    decoded,
    encoded,
    normalise,
)

__all__ = ["Meaning", "meaning_of"]

_NOT_NORMAL = "the path cannot be normalised"


class Meaning(msgspec.Struct, frozen=True, gc=False):  # made for each call
    """The paths that a request may mean, encoded."""

    candidates: tuple[str, ...]  # at least one, the likeliest first; ALLOW needs all of them
    partial: tuple[str, ...] = ()  # more of them for what refuses: DENY, CUSTOM, AUDIT
    rewritten: str | None = None  # what the app gets in place of its path; None: it stays


def meaning_of(
    head: InboundHead, normalization: Normalization | None, plain: str | None
) -> Meaning | str:
    """Return which paths a request may mean, or why it must be refused.

    Args:
        head: the request, well-formed.
        normalization: MeshConfig's; None: it says nothing, and the app's path is left alone.
        plain: the path, where that is plain.
    """
    if plain is not None and normalization is None:
        return Meaning((plain,))
    target = None if head.target is None else split_target(head.target)
    paths, partial_paths, rewritten = head.paths, head.partial_paths, None
    if normalization is not None:
        # As behind Istio the app sees the normalised path, so that is one it may mean.
        rewritten = normalise(encoded(paths[0]) if target is None else target, normalization)
        if rewritten is None:
            return _NOT_NORMAL
        paths, partial_paths = _rewritten(head, decoded(rewritten))
    elif "#" in paths[0] and target is not None and "#" in target:
        # Cut in the decision and left in what the app sees, it would mean two things.
        return "the path holds a fragment"
    mode = normalization or DEFAULT_NORMALIZATION
    means = candidates(target, paths, mode)
    partly = candidates(None, partial_paths, mode) if partial_paths else ()
    if means is None or partly is None:
        return _NOT_NORMAL
    if mode != DEFAULT_NORMALIZATION:
        # For DENY alone: an app may take `//` for `/`, whichever mode was chosen.
        strict = candidates(target, (*paths, *partial_paths), DEFAULT_NORMALIZATION)
        if strict is None:
            return _NOT_NORMAL
        partly += strict
    for rest in partial_paths or paths[1:]:
        if "/." in rest or "\\" in rest:
            partly += _within(head.prefixes, rest)
    return Meaning(means, partly, rewritten)


def _rewritten(head: InboundHead, path: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what an app may take another path for that it gets, and that without its prefix.

    Dots may have led out of where it is mounted, and some servers keep the prefix apart. The app
    then takes all of the path for what is behind the prefix.
    """
    prefixes = head.prefixes
    if is_below(path, prefixes[0]):
        path = path[len(prefixes[0]) :]
    else:
        prefixes = (*prefixes, "")
    paths = tuple(dict.fromkeys(prefix + path or "/" for prefix in prefixes))
    return paths, (path,) if head.partial_paths else ()


def _within(prefixes: tuple[str, ...], rest: str) -> tuple[str, ...]:
    """Return what an app may make of dots behind its prefix: none of them leads out of there."""
    found = candidates(None, (rest,), DEFAULT_NORMALIZATION) or ()
    return tuple(encoded(prefix) + path for prefix in prefixes if prefix for path in found)
