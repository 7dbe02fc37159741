"""Where calls through the mesh go otherwise than through Envoy, on purpose, and why.

The conformance tests play the same calls on both sides; what differs in an aspect that is not
listed here for the case fails. So does a decision about a request that goes otherwise for any
reason but the listed ones. The reference page of fields is made from these tables as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["DIFFERENCES", "RULE_DIFFERENCES", "Difference"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which a call goes otherwise."""

    what: str  # the mesh does, and Envoy
    why: str
    aspects: tuple[str, ...]  # as the tests name them: status, attempts, request-headers ...


DIFFERENCES: Mapping[str, Difference] = MappingProxyType(
    {
        "repeats-only-what-is-safe": Difference(
            what="A request whose method is not idempotent is sent once, unless a ServicePolicy "
            "says that it is safe to repeat; Envoy repeats it when `retryOn` matches.",
            why="`retryOn: 5xx` must not repeat payments.",
            aspects=(
                "status",
                "body",
                "flags",
                "attempts",
                "upstream",
                "method",
                "target",
                "request-body",
                "response-headers",
            ),
        ),
        "stale-connection": Difference(
            what="A safe request that meets a pooled connection which the upstream has ended is "
            "sent again over a fresh one; Envoy answers 503 UC unless `retryOn` says otherwise.",
            why="An upstream may end an idle connection at any time, and no app should see it.",
            aspects=(
                "status",
                "body",
                "flags",
                "upstream",
                "method",
                "target",
                "request-body",
                "response-headers",
            ),
        ),
        "operations-on-failures": Difference(
            what="Operations on response headers leave the mesh's own answers for failures alone.",
            why="The app reads them as the mesh's word, not the upstream's.",
            aspects=("response-headers",),
        ),
        "steering-headers": Difference(
            what="`x-envoy-retry-on` and its like go to the upstream as the app wrote them; Envoy "
            "takes some of them out.",
            why="Policy is never taken from requests, so there is nothing to consume.",
            aspects=("request-headers",),
        ),
        "cors-by-the-callee": Difference(
            what="`corsPolicy` is carried out by the workload that is called; Envoy does it on "
            "the caller's side.",
            why="A browser has no proxy of the mesh: it is the callee that it asks.",
            aspects=(
                "status",
                "body",
                "attempts",
                "upstream",
                "method",
                "target",
                "request-body",
                "response-headers",
            ),
        ),
        "a-path-begins-with-a-slash": Difference(
            what="A rewrite by regular expression that leaves no slash in front gets one; Envoy "
            "sends the path as it is.",
            why="Without one it is no path (RFC 9110, 4.2.3), and servers answer 400.",
            aspects=("target",),
        ),
        "headers-of-one-line": Difference(
            what="`headers.request.add` adds a second line to any header; Envoy writes some, such "
            "as `user-agent`, into one line with a comma.",
            why="The two mean the same (RFC 9110, 5.3).",
            aspects=("request-headers",),
        ),
        "grpc-timeout": Difference(
            what="A gRPC request goes out without `grpc-timeout`, and one of the app's own is "
            "not looked at; Envoy tells the upstream what `timeout` leaves, and takes the "
            "shorter.",
            why="Deadlines are to go from call to call with those of HTTP; they come later.",
            aspects=("request-headers", "status", "flags", "body", "response-headers"),
        ),
        "transport-failure-reason": Difference(
            what="The body of a 503 for a failed connection names the system's reason; Envoy 1.40 "
            "writes it into its log only.",
            why="In process it tells the app nothing that it could not know.",
            aspects=("body", "response-headers"),
        ),
        "reset-in-body": Difference(
            what="A connection that is reset in the middle of a body has the flag UC, as one that "
            "is closed before its headers; Envoy says UPE.",
            why="A reset is no mistake of protocol.",
            aspects=("flags",),
        ),
        "created-without-location": Difference(
            what="A direct response of 201 has no `location`; Envoy names the request's own URL.",
            why="Policy did not ask for it.",
            aspects=("response-headers",),
        ),
        "no-content": Difference(
            what="A direct response of 204 or 304 has no body, whatever policy says, and nothing "
            "that describes one; Envoy gives the length of the body that it does not send.",
            why="RFC 9110, 8.6.",
            aspects=("response-headers",),
        ),
        "content-type-removed": Difference(
            what="`headers.response.remove` may take the `content-type` of a direct response out; "
            "Envoy writes it behind the operations.",
            why="What policy removes is gone.",
            aspects=("response-headers",),
        ),
        "shadow-address": Difference(
            what="A mirrored request has no `x-forwarded-for` but the app's own; Envoy adds the "
            "address of its machine.",
            why="The copy is sent as the original is.",
            aspects=("request-headers",),
        ),
    }
)
"""By the name that cases give."""

_DECISION = ("decision",)

RULE_DIFFERENCES: Mapping[str, Difference] = MappingProxyType(
    {
        "one-meaning-only": Difference(
            what="A request that two parsers could read in two ways is 400, whatever rules say: "
            "two Hosts, a malformed Host, a method in lower case, control characters in the path, "
            "a name such as `x_role` beside a rule on `x-role`. Envoy decides on one reading.",
            why="Python servers and frameworks read them in different ways.",
            aspects=_DECISION,
        ),
        "rules-on-every-path": Difference(
            what="DENY rules hold if they match any path that a request may mean to an app, ALLOW "
            "rules must hold for each. Envoy decides on the one path that it hands on: `..;a=b` is "
            "`..` to it, `{` is `%7B`, `%c3` is not `%C3`, and of slashes alone it leaves two.",
            why="An app in process is handed a decoded path and resolves no dots; behind Envoy it "
            "sees nothing but the path that was decided on.",
            aspects=_DECISION,
        ),
        "rules-on-every-host": Difference(
            what="`hosts` and `notHosts` meet a Host with and without its port and its trailing "
            "dot; Envoy compares it as it is written.",
            why="ISTIO-SECURITY-2021-008: `Host: admin.example:80` is no way around a rule.",
            aspects=_DECISION,
        ),
        "rules-on-every-value": Difference(
            what="Of a header with several values an ALLOW rule must hold for each, and lists with "
            "commas are taken apart; to Envoy one line that matches is enough, and a list is one "
            "value.",
            why="An app may look at any of the values, and WSGI servers join lines with commas.",
            aspects=_DECISION,
        ),
        "templates-of-any-letters": Difference(
            what="`{*}` and `{**}` take any letters; Envoy takes only those that may stand in a "
            "path, which matters where `pathNormalization` is NONE.",
            why="What a template leaves open is not told apart by the letters in it.",
            aspects=_DECISION,
        ),
        "rules-on-what-is-not-known": Difference(
            what="Where a connection asked for no name that the server tells of, or proxies say "
            "less than they should of where a call began, DENY rules on `connection.sni` and "
            "`remote.ip` hold and ALLOW rules do not; to Envoy the name is empty, and the last "
            "proxy the caller.",
            why="What is not certain must harm neither way.",
            aspects=_DECISION,
        ),
        "one-token-at-a-place": Difference(
            what="Two tokens at one place are 401, and so is what an app could take for one: "
            "`bearer` in lower case, a scheme in the middle of the header. To Envoy each line of a "
            "header without a prefix is a token, and what follows a prefix, wherever it stands.",
            why="The app behind must find no other token than the one that was verified.",
            aspects=_DECISION,
        ),
        "every-token-is-good": Difference(
            what="Every token at a place where a rule looks must be good, by one rule for all. To "
            "Envoy it is enough that one rule believes what stands at its places; between several "
            "rules and several tokens it makes finer choices still.",
            why="An app may look at any of them.",
            aspects=_DECISION,
        ),
        "tokens-end": Difference(
            what="A token without `exp` is 401; Envoy takes it for ever.",
            why="RFC 8725: what cannot end cannot be taken back.",
            aspects=_DECISION,
        ),
        "audiences-as-written": Difference(
            what="Audiences are compared as they are written; Envoy strips `https://` and a slash "
            "at the end from both.",
            why="RFC 7519, 4.1.3: they are compared letter by letter.",
            aspects=_DECISION,
        ),
        "what-is-wrong-with-a-token": Difference(
            what="Of several things that are wrong with tokens each side tells another one, with "
            "401 or, for an audience, 403.",
            why="The rule that knows the issuer tells best; an algorithm that no key has is seen "
            "before anything else.",
            aspects=_DECISION,
        ),
        "one-user-a-request": Difference(
            what="Of several good tokens the first says who it is, and headers for the app are "
            "made of it; Envoy makes them of every one.",
            why="A request has one end user.",
            aspects=("headers",),
        ),
        "lists-in-headers": Difference(
            what="`outputClaimToHeaders` leaves lists and objects out, as Istio says; Envoy 1.40 "
            "writes them as Base64 of their JSON.",
            why="Istio, JWTRule: only strings, numbers and booleans are passed on.",
            aspects=("headers",),
        ),
        "plaintext-under-strict": Difference(
            what="Plaintext under STRICT is answered 403 where the server has read the request; "
            "Envoy closes the connection.",
            why="An app's middleware has no connection to close.",
            aspects=_DECISION,
        ),
        "path-left-alone": Difference(
            what="Where MeshConfig says nothing of paths, rules are the strictest and the app sees "
            "its path as it was sent; an exported Envoy hands on the normalised one.",
            why="In process the app's own router has seen to odd paths before; another language's "
            "server behind Envoy might take them otherwise than the rule did.",
            aspects=("path",),
        ),
    }
)
"""What is decided otherwise of requests that arrive, by the name that the comparison gives."""
