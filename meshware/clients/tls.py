"""TLS that policy originates: the context for a rule, kept until one of its files changes.

1. A rule whose files cannot be used has no context: its calls fail before anything is dialled, and
   are never sent in the clear.
2. A file that changes makes a new context, so new pools; what was made before is drained.
3. A change for the worse (a file half written, or gone) is told in the log, and what was in use
   stays in use until the files are good again: certificates end by themselves.
"""

from __future__ import annotations

import logging
import os
import ssl
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from meshware.call import Send
from meshware.clients.connections import Life
from meshware.clients.deadline import DeadlineSSLSocket
from meshware.errors import IdentityError
from meshware.identity.tls import check_peers, must_bear_one_of, verified_peer
from meshware.policy.pool_rule import TLSRule

__all__ = ["Origination", "origination", "user_of"]

_LOOK_AGAIN_S = 0.25
"""Files are looked at no more often than this: a look costs microseconds for each."""

_MOST_KEPT = 1024

_log = logging.getLogger("meshware.tls")


class Origination(NamedTuple):
    """The TLS that a connection is wrapped in as it is made, below the client library.

    Two of them are equal when their connections may be shared.
    """

    context: ssl.SSLContext
    server_name: str  # to send, and to verify where the context is told to

    def cap(self, life: Life, connection: object) -> None:
        """Let a connection end with the certificates that vouched for it.

        Args:
            life: of the connection.
            connection: what TLS made of it, its handshake being over.
        """
        verified = verified_peer(connection)
        if verified is not None:
            own: float = getattr(self.context, "until_s", verified.until)
            life.end_by(min(verified.until, own) - time.time())


def origination(action: Send, scheme: str) -> Origination | None:
    """Return the TLS to originate for an attempt; None: none, so it goes as its URL says.

    Args:
        action: the attempt.
        scheme: of the caller's URL. `https` has TLS of its own, which the caller's library makes
            and verifies; Istio does not look into that either.

    Raises:
        IdentityError: it cannot be had; the text says little, and the log the rest.
    """
    rule = action.pool.tls
    if rule is None or scheme == "https":
        return None
    if rule.is_mesh:
        if action.identity is None:
            raise IdentityError("this process has no identity")
        context = action.identity.client_context(frozenset(rule.names), DeadlineSSLSocket)
        return Origination(context, rule.sni or "")
    server_name = (action.server_name or "").rstrip(".")
    if not _may_be_sent(server_name):
        raise IdentityError("the Host is no name of a server")
    return Origination(_contexts.get(rule), server_name)


def user_of(action: Send, scheme: str) -> tuple[object, ...]:
    """Return who uses one pool at a time: a cluster, or those of it whom one certificate serves.

    Endpoints of a cluster that answer in different names have pools of their own beside each other.
    """
    rule = action.pool.tls
    names = rule.names if rule is not None and rule.is_mesh else None
    return (action.cluster, scheme, names, rule is None)


def _may_be_sent(name: str) -> bool:
    """Say whether `ssl` takes a name: it raises for others in the middle of connecting."""
    if not name or name.startswith(".") or not name.isprintable():
        return False
    try:
        name.encode("idna")
    except UnicodeError:
        return False
    return True


_State = tuple[tuple[int, ...] | None, ...]
"""What the system says about the files of a rule, None for one that is not there."""


@dataclass(slots=True)
class _Kept:
    """The context for a rule, and when and in which state its files were last looked at."""

    context: ssl.SSLContext | None
    state: _State
    looked_at: float
    problem: str | None  # why the files of that state cannot be used


class _Contexts:
    """Contexts by rule. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[TLSRule, _Kept] = {}

    def get(self, rule: TLSRule) -> ssl.SSLContext:
        """Return the context for a rule, made anew when its files have changed."""
        kept = self._kept.get(rule)
        if kept is None or time.monotonic() - kept.looked_at >= _LOOK_AGAIN_S:
            with self._lock:
                kept = self._look(rule)
        if kept.context is None:
            raise IdentityError("the files that policy names cannot be used")
        return kept.context

    def _look(self, rule: TLSRule) -> _Kept:
        before, now = self._kept.get(rule), time.monotonic()
        state = tuple(_state(path) for _, path in _files(rule))
        if before is not None:
            if now - before.looked_at < _LOOK_AGAIN_S:  # another thread has just looked
                return before
            if before.state == state and before.problem is None:
                before.looked_at = now
                return before
        context = before.context if before is not None else None
        problem = None
        try:
            context = _make(rule)
        except IdentityError as error:
            problem = str(error)
            if before is None or before.problem != problem:
                _log.error("%s; %s", problem, _STAYS if context is not None else _REFUSED)
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        kept = self._kept[rule] = _Kept(context, state, now, problem)
        return kept


_STAYS = "what was read before stays in use"
_REFUSED = "calls that need it are answered with 503 UF until it is mended"


def _files(rule: TLSRule) -> Iterator[tuple[str, str]]:
    """Yield the files of a rule, each under the name of its field."""
    for name, path in (
        ("caCertificates", rule.ca_file),
        ("caCrl", rule.crl_file),
        ("clientCertificate", rule.certificate_file),
        ("privateKey", rule.key_file),
    ):
        if path is not None:
            yield name, path


def _state(path: str) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)


def _make(rule: TLSRule) -> ssl.SSLContext:
    """Return the context for a rule.

    Raises:
        IdentityError: a file is missing, or is not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.sslsocket_class = DeadlineSSLSocket
    context.hostname_checks_common_name = False  # only subject alt names are names
    for name, path in _files(rule):
        _use(name, path, _must_be_a_file)
    if not rule.verifies:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        if rule.ca_file is None:
            _trust_the_system(context)
        else:
            _use("caCertificates", rule.ca_file, context.load_verify_locations)
            if not context.cert_store_stats()["x509"]:
                raise _unusable("caCertificates", rule.ca_file, "there is no certificate in it")
        if rule.crl_file is not None:
            _use("caCrl", rule.crl_file, context.load_verify_locations)
            if not context.cert_store_stats()["crl"]:
                raise _unusable("caCrl", rule.crl_file, "there is no revocation list in it")
            context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_CHAIN  # as Envoy
        if rule.names:
            context.check_hostname = False  # the names are checked in its place
            check_peers(context, must_bear_one_of(rule.names), DeadlineSSLSocket)
    if rule.certificate_file is not None:
        key = rule.key_file
        _use(
            "clientCertificate",
            rule.certificate_file,
            lambda path: context.load_cert_chain(path, key, password=_no_password),
        )
    return context


def _trust_the_system(context: ssl.SSLContext) -> None:
    context.load_default_certs()
    paths = ssl.get_default_verify_paths()
    # A directory is read at a handshake only, so that nothing loaded means nothing by itself.
    if not (context.cert_store_stats()["x509"] or paths.cafile or paths.capath):
        raise IdentityError("this system has no authorities to trust; name some in caCertificates")


def _must_be_a_file(path: str) -> None:
    if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for its writer
        raise ValueError("it is not a file")


def _no_password() -> str:
    # Without this OpenSSL would ask for one on the terminal.
    raise ValueError("its key is encrypted; write one without a password")


def _use(name: str, path: str, load: Callable[[str], None]) -> None:
    try:
        load(path)
    except ssl.SSLError as error:
        reason = (getattr(error, "reason", None) or str(error)).replace("_", " ").lower()
        raise _unusable(name, path, reason) from error
    except OSError as error:
        raise _unusable(name, path, error.strerror or str(error)) from error
    except ValueError as error:
        raise _unusable(name, path, str(error)) from error


def _unusable(name: str, path: str, reason: str) -> IdentityError:
    return IdentityError(f"{name} {path} cannot be used: {reason}")


_contexts = _Contexts()


def _forget() -> None:
    """Start anew in a forked child: the lock may be held by a thread that is not there."""
    global _contexts  # noqa: PLW0603 - the cache of this process
    _contexts = _Contexts()


os.register_at_fork(after_in_child=_forget)
