"""`TestMesh`: a mesh for tests, over policy written in the test. It opens no connection."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, ClassVar

from msgspec import structs

from meshware.authz import Authorizer
from meshware.clock import Clock, SystemClock
from meshware.errors import SettingsError
from meshware.events import Event, OutboundEvent
from meshware.identity.bundle import Bundle
from meshware.identity.spiffe import SpiffeID
from meshware.identity.svid import X509SVID
from meshware.policy.dns_records import with_addresses
from meshware.policy.document.mesh_config import (
    ExtensionProvider,
    InProcessAuthorizer,
    MeshConfigSpec,
)
from meshware.policy.document.service_entry import (
    ObjectMeta,
    WorkloadEntrySpec,
    WorkloadGroupSpec,
)
from meshware.policy.file import MemoryRecords
from meshware.policy.load import Loaded, load, load_mapping, load_text
from meshware.policy.parse import Origin, Resource
from meshware.policy.records import build_records
from meshware.policy.snapshot import build_snapshot
from meshware.policy.validate import check
from meshware.policy.view import Client
from meshware.runtime.mesh import Mesh
from meshware.runtime.settings import workload_client
from meshware.testing.identities import Identities

__all__ = ["Policies", "TestMesh"]

Policies = str | Path | Mapping[str, Any] | Sequence["str | Path | Mapping[str, Any]"]

_log = logging.getLogger("meshware.testing")


class TestMesh(Mesh):
    """A `Mesh` over policy written in a test.

    A workload that no document names is taken to have the label `app=<name>`.

    Args:
        policies: YAML text, a `Path` (file or directory), a mapping (one resource), or a list of
            these; checked as one, as the daemon would.
        workload: `namespace/name` of the workload that this process is.
        bundles: the roots to believe, as PEM, by trust domain, in place of all others; None: those
            of the authority that `issue` uses for our own trust domain, and what policy has.
        clock: time; the machine's when left out.
        rng: chance; seeded with 0 when left out.
        port: where the app is reached, as MESH_PORT would say; None: not known.
        addresses: what DNS would answer, by name; a name that is not in it has no endpoint.
        authorizers: functions by the names of MeshConfig's extensionProviders, in place of whatever
            is written there: of services too, which otherwise cannot be reached, and of what
            `meshware.authorizer` has registered.

    Raises:
        PolicyError: the policies have problems; all of them are in it.
        SettingsError: the workload is not a name.
        IdentityError: a bundle is not PEM, or is of no trust domain.

    Attributes:
        events: what happened, oldest first: one event for each call that is over. Those of calls
            that went out no longer refer to request and response, which hold on to connections.
    """

    __test__: ClassVar[bool] = False  # not a test class, for all its name
    opens_connections: ClassVar[bool] = False

    def __init__(
        self,
        policies: Policies,
        workload: str = "default/app",
        bundles: Mapping[str, str] | None = None,
        *,
        clock: Clock | None = None,
        rng: Random | None = None,
        port: int | None = None,
        addresses: Mapping[str, Sequence[str]] | None = None,
        authorizers: Mapping[str, Authorizer] | None = None,
    ) -> None:
        self._functions = dict(authorizers or {})
        self._identities = Identities(clock or SystemClock(), bundles)
        self._own: tuple[SpiffeID, X509SVID] | None = None
        self.events: list[Event] = []
        self._addresses = addresses or {}
        super().__init__(
            client=workload_client(workload),
            clock=clock,
            rng=rng or Random(0),
            sink=self._keep,
            port=port,
            source_of=lambda snapshot: self,
        )
        self.apply(policies)

    def _keep(self, event: Event) -> None:
        if isinstance(event, OutboundEvent):
            event.head = event.response = None
        self.events.append(event)

    def apply(self, policies: Policies) -> None:
        """Put other policies in force, as a publish would.

        Raises:
            PolicyError: they have problems; nothing has changed.
        """
        resources = [_with_functions(each, self._functions) for each in _resources(policies)]
        _add_workload(resources, self.client)
        previous = self.cell.current
        snapshot = build_snapshot(
            MemoryRecords(
                self._identities.believed(with_addresses(build_records(resources), self._addresses))
            ),
            self.client,
            generation=previous.generation + 1 if previous else 1,
            on_refusal=_refused,
            previous=previous,
        )
        self.cell.current = snapshot
        self.ledger.retain(snapshot.cluster_names())

    def authorizer(self, name: str) -> Authorizer | None:
        """Return the function that is the authorizer of a name; None: there is none."""
        return self._functions.get(name) or super().authorizer(name)

    # --- identities -----------------------------------------------------------------------

    def issue(self, spiffe_id: str, life_s: float = 3600.0) -> X509SVID:
        """Issue an SVID for any valid ID: `.cert_pem` is its whole chain, `.key_pem` its key.

        Args:
            spiffe_id: "spiffe://...". Of a foreign trust domain the issuer is an authority that
                this mesh does not believe.
            life_s: seconds from now.

        Raises:
            IdentityError: it is no SPIFFE ID.
        """
        return self._identities.issue(SpiffeID.parse(spiffe_id), life_s)

    def svid(self) -> X509SVID | None:
        """Return what the workload shows; None: policy gives it no service account."""
        snapshot = self.cell.current
        wanted = None if snapshot is None else snapshot.id
        if wanted is None:
            return None
        own = self._own
        now = self.clock.now().timestamp()
        if own is None or own[0] != wanted or now > (own[1].from_s + own[1].until_s) / 2:
            own = self._own = (wanted, self._identities.issue(wanted))
        return own[1]

    def bundle(self, trust_domain: str) -> Bundle | None:
        """Return the roots of a trust domain, where policy has none."""
        return None

    def start(self) -> None:
        """Do nothing: there is nothing to follow."""

    def stop(self) -> None:
        """Do nothing."""


def _with_functions(resource: Resource, functions: Mapping[str, Authorizer]) -> Resource:
    """Return a MeshConfig in which functions stand in the place of services."""
    spec = resource.spec
    if not functions or not isinstance(spec, MeshConfigSpec):
        return resource
    providers = tuple(
        each if each.name not in functions else _as_function(each)
        for each in spec.extension_providers or ()
    )
    return replace(resource, spec=structs.replace(spec, extension_providers=providers))


def _as_function(provider: ExtensionProvider) -> ExtensionProvider:
    http = provider.envoy_ext_authz_http
    if http is None:
        return provider
    function = InProcessAuthorizer(
        timeout=http.timeout,
        fail_open=http.fail_open,
        status_on_error=http.status_on_error,
        include_request_body_in_check=http.include_request_body_in_check,
    )
    return ExtensionProvider(name=provider.name, in_process=function)


def _refused(name: str, error: Exception) -> None:
    _log.error("%s cannot be compiled: %s", name, error)


def _resources(policies: Policies) -> list[Resource]:
    parts = [policies] if isinstance(policies, str | Path | Mapping) else list(policies)
    loaded = [_load(part) for part in parts]
    if len(loaded) == 1:
        loaded[0].raise_for_errors()
        return list(loaded[0].resources)
    # Each part alone may lack what another brings: parse them apart, check them together.
    resources = [resource for part in loaded for resource in part.resources]
    problems = [problem for part in loaded for problem in part.parse_problems]
    problems += check(resources)
    Loaded(resources=tuple(resources), problems=tuple(problems)).raise_for_errors()
    return resources


def _load(part: str | Path | Mapping[str, Any]) -> Loaded:
    if isinstance(part, Path):
        return load([part])
    if isinstance(part, Mapping):
        return load_mapping(part)
    return load_text(part)


def _add_workload(resources: list[Resource], client: Client) -> None:
    if client.name is None:
        raise SettingsError("TestMesh needs a workload: write namespace/name")
    for resource in resources:
        if (resource.namespace, resource.name) == (client.namespace, client.name) and isinstance(
            resource.spec, WorkloadEntrySpec | WorkloadGroupSpec
        ):
            return
    resources.append(
        Resource(
            kind="WorkloadGroup",
            group="networking.istio.io",
            namespace=client.namespace,
            name=client.name,
            labels={},
            annotations={},
            created="",
            spec=WorkloadGroupSpec(
                metadata=ObjectMeta(labels={"app": client.name}), template=WorkloadEntrySpec()
            ),
            origin=Origin(file="<test>", line=1),
            lines={},
        )
    )
