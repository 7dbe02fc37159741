"""Cases by chance: rules, upstreams and calls from small alphabets, so that they often meet.

What the mesh does otherwise on purpose is left out (see `meshware.envoy.differences`): of methods
that are not idempotent there are calls only to upstreams that do not fail.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

from hypothesis import strategies as st

from conformance.cases import SERVICE, Call, Case, destination_rule, virtual_service
from conformance.upstreams import CLOSE, RESET, Answer, Script, answer

CALLS = 20

PATHS = ("/", "/a", "/a/", "/a/b", "/ab", "/A", "/b", "/a%2Fb", "//a", "/a/b/c.html")
QUERIES = ("", "", "?q=a", "?q=b", "?q", "?q=", "?p=1&q=a", "?q=ab&q=a", "?q=a%20b")
VALUES = ("a", "b", "ab", "a,b", "A", "")
NAMES = ("x-a", "x-b")
IDEMPOTENT = ("GET", "GET", "GET", "PUT", "DELETE", "HEAD")


def _maybe(strategy: st.SearchStrategy[Any], share: int = 3) -> st.SearchStrategy[Any]:
    """A value now and then, else None."""
    return st.one_of(*[st.none()] * (share - 1), strategy)


def _without_none(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(fields).map(
        lambda found: {name: value for name, value in found.items() if value is not None}
    )


def _text_match(exact: Any, prefix: Any, regex: Any) -> st.SearchStrategy[dict[str, str]]:
    return st.one_of(
        st.sampled_from(exact).map(lambda text: {"exact": text}),
        st.sampled_from(prefix).map(lambda text: {"prefix": text}),
        st.sampled_from(regex).map(lambda text: {"regex": text}),
    )


_PATH = _text_match(PATHS, ("/", "/a", "/a/", "/A", "/b"), ("/a.*", "/[ab]", ".*b", "/a/[^/]+"))
_VALUE = st.one_of(
    st.just({}), _text_match(VALUES, ("a", "b"), ("a|b", "a.*", ".+", "[ab]+", "[^,]*"))
)
_QUERY = st.one_of(st.just({}), _text_match(("a", "b", "", "a%20b"), ("a",), ("a.*", ".+")))
_METHOD = _text_match(("GET", "PUT", "POST"), ("P", "G"), ("GET|HEAD", "P.*"))

_BLOCK = _without_none(
    uri=_maybe(_PATH, 2),
    ignoreUriCase=_maybe(st.just(True), 5),
    method=_maybe(_METHOD, 5),
    headers=_maybe(st.dictionaries(st.sampled_from(NAMES), _VALUE, min_size=1, max_size=2)),
    withoutHeaders=_maybe(st.dictionaries(st.sampled_from(NAMES), _VALUE, min_size=1), 5),
    queryParams=_maybe(st.dictionaries(st.just("q"), _QUERY, min_size=1), 5),
    port=_maybe(st.sampled_from((80, 9080)), 8),
    sourceLabels=_maybe(st.sampled_from(({"app": "web"}, {"app": "other"})), 8),
)

_SET = st.dictionaries(
    st.sampled_from(("x-a", "x-b", "x-new")),
    st.sampled_from(("new", "%REQ(x-b)%", "%REQ(x-none?x-a)%", "100%%", "")),
    min_size=1,
    max_size=2,
)
_OPERATIONS = _without_none(
    set=_maybe(_SET, 2),
    add=_maybe(_SET, 2),
    remove=_maybe(st.lists(st.sampled_from(("x-a", "x-b", "X-Said")), min_size=1, max_size=2), 2),
).filter(bool)
_HEADERS = _without_none(request=_maybe(_OPERATIONS, 2), response=_maybe(_OPERATIONS, 2)).filter(
    bool
)

_BY_REGEX = st.fixed_dictionaries(
    {
        "match": st.sampled_from(("/a", "/([^/]*)", "a+", "^/a/(b)", "b$")),
        "rewrite": st.sampled_from(("/r", "/x\\1", "")),
    }
).filter(
    # A path that loses its first slash is a listed difference, with a case of its own.
    lambda found: (
        ("(" in found["match"] or "1" not in found["rewrite"])
        and (found["rewrite"] or "/" not in found["match"])
    )
)
_REWRITE = _without_none(
    uri=_maybe(st.sampled_from(("/", "/r", "/r/", "/a%20b")), 2),
    uriRegexRewrite=_maybe(_BY_REGEX),
    authority=_maybe(st.just("other.example"), 2),
).filter(bool)

_RETRY_ON = st.lists(
    st.sampled_from(
        ("5xx", "gateway-error", "reset", "connect-failure", "retriable-4xx", "503", "404", "409")
    ),
    min_size=1,
    max_size=3,
    unique=True,
).map(",".join)
_RETRIES = st.one_of(
    st.just({"attempts": 0}),
    st.fixed_dictionaries(
        {
            "attempts": st.integers(1, 3),
            "retryOn": _RETRY_ON,
            "backoff": st.just("2ms"),
        }
    ),
)
_SHARE = st.sampled_from(({"value": 0}, {"value": 100}))
_ABORT = st.fixed_dictionaries(
    {"httpStatus": st.sampled_from((418, 503, 404)), "percentage": _SHARE}
)
_FAULT = st.one_of(
    st.fixed_dictionaries({"abort": _ABORT}),
    st.fixed_dictionaries(
        {"delay": st.fixed_dictionaries({"fixedDelay": st.just("5ms"), "percentage": _SHARE})}
    ),
)

_SUBSET = st.sampled_from(("v1", "v1", "v2", "v2", "empty"))
_PORT = _maybe(st.sampled_from((80, 9080)), 5)


@st.composite
def _destination(draw: st.DrawFn) -> dict[str, Any]:
    found: dict[str, Any] = {"host": "orders", "subset": draw(_SUBSET)}
    port = draw(_PORT)
    if port is not None:
        found["port"] = {"number": port}
    return found


@st.composite
def _routes(draw: st.DrawFn) -> list[dict[str, Any]]:
    """One destination, or two of which one is never drawn."""
    found = [{"destination": draw(_destination())}]
    headers = draw(_maybe(_HEADERS))
    if headers is not None:
        found[0]["headers"] = headers
    if draw(st.integers(0, 3)) == 0:
        found[0]["weight"] = draw(st.integers(1, 100))
        found.append({"destination": draw(_destination()), "weight": 0})
        if draw(st.booleans()):
            found.reverse()
    return found


_REDIRECT = _without_none(
    uri=_maybe(st.sampled_from(("/r", "/r?x=1")), 2),
    authority=_maybe(st.just("other.example"), 2),
    scheme=_maybe(st.sampled_from(("http", "https")), 2),
    port=_maybe(st.sampled_from((80, 443, 8080)), 3),
    redirectCode=_maybe(st.sampled_from((301, 302, 303, 307, 308)), 2),
).filter(bool)
_DIRECT = st.one_of(
    st.just({"status": 204}),
    st.fixed_dictionaries(
        {"status": st.sampled_from((200, 404, 503))},
        optional={"body": st.just({"string": "said here"})},
    ),
)


@st.composite
def _rule(draw: st.DrawFn) -> dict[str, Any]:
    found: dict[str, Any] = {}
    name = draw(_maybe(st.sampled_from(("one", "two", "three"))))
    if name is not None:
        found["name"] = name
    blocks = draw(st.lists(_BLOCK, max_size=2))
    if blocks:
        found["match"] = blocks
    kind = draw(st.integers(0, 9))
    if kind == 0:
        found["redirect"] = draw(_REDIRECT)
    elif kind == 1:
        found["directResponse"] = draw(_DIRECT)
    else:
        found["route"] = draw(_routes())
        for field, strategy in (
            ("rewrite", _maybe(_REWRITE)),
            ("retries", _maybe(_RETRIES, 2)),
            ("fault", _maybe(_FAULT, 5)),
            ("headers", _maybe(_HEADERS)),
            ("timeout", _maybe(st.just("30s"), 3)),
        ):
            value = draw(strategy)
            if value is not None:
                found[field] = value
    return found


_ANSWERS = st.one_of(
    st.sampled_from((200, 200, 204, 404, 409, 429, 500, 502, 503, 504)).map(
        # Closed, so that no failure meets a connection that was used (see `stale-connection`).
        lambda status: (
            *answer(
                status,
                b"" if status == 204 else b"said",
                "x-said: 1",
                "x-a: 2",
                "connection: close",
            ),
            CLOSE,
        )
    ),
    st.sampled_from(((RESET,), (CLOSE,), (b"HTTP/1.1 what\r\n\r\n", CLOSE))),
)


def _calls(rng: Random, *, fails: bool) -> list[Call]:
    """Calls; from one number drawn, since hypothesis takes long over thousands."""
    methods = IDEMPOTENT if fails else (*IDEMPOTENT, "POST", "PATCH")
    return [_call(rng, rng.choice(methods)) for _ in range(CALLS)]


def _call(rng: Random, method: str) -> Call:
    headers = [(rng.choice(NAMES), rng.choice(VALUES)) for _ in range(rng.randrange(4))]
    return Call(
        path=rng.choice(PATHS) + rng.choice(QUERIES),
        method=method,
        port=rng.choice((80, 80, 80, 9080)),
        headers=tuple(headers),
        body=b"body" if method in ("PUT", "POST", "PATCH") else b"",
    )


TWO_PORTS = SERVICE.replace(
    "protocol: HTTP}]", "protocol: HTTP}, {number: 9080, name: other, protocol: HTTP}]"
)
for _upstream, _other in (("$a", "$c"), ("$b", "$d")):
    TWO_PORTS = TWO_PORTS.replace(
        f"ports: {{http: {_upstream}}}", f"ports: {{http: {_upstream}, other: {_other}}}"
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """One case; its name is to be given by whoever collects it."""
    rules = draw(st.lists(_rule(), min_size=1, max_size=4))
    fails = draw(st.booleans())
    script: dict[str, list[Answer]] = {}
    if fails:
        script = {
            name: draw(st.lists(_ANSWERS, min_size=1, max_size=5)) for name in ("a", "b", "c", "d")
        }
    calls = _calls(Random(draw(st.integers(0, 2**32))), fails=fails)
    http = "\n".join(f"- {json.dumps(rule)}" for rule in rules).replace("$", "$$")
    return Case(
        name="",
        policies=[
            TWO_PORTS,
            destination_rule("trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}"),
            virtual_service(http),
        ],
        calls=calls,
        script=Script(script),
    )
