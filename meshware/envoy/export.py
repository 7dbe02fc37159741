"""Put a whole configuration together: which files there are, and what is in each.

::

    bootstrap.json     who this is, and where the others are; read once
    svid.json          where its own key and chain lie; with an identity only
    bundles.json       whom it believes; likewise
    lds.json           the listeners
    rds.json           its routes
    cds.json           the clusters
    eds/<cluster>.json the endpoints of one cluster: they change most, and a change of theirs
                       alone keeps connections and ejections

Envoy follows the files while it runs, and takes one up when another is moved into its place. In
the order of `Export.files` no route ever leads to a cluster that is not there yet. Each file takes
an inotify instance, and Linux gives a user 128 of them: with many clusters the endpoints stand in
`cds.json` themselves.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import quote

import msgspec

from meshware.envoy.clusters import Surroundings, assignment, cluster, has_names, is_original
from meshware.envoy.hosts import virtual_hosts
from meshware.envoy.identity import Identity, bundles_of, downstream
from meshware.envoy.inbound import Inbound, app_cluster, inbound_listener
from meshware.envoy.listener import ROUTES, listener, pass_through
from meshware.envoy.policies import behind
from meshware.envoy.routes import Routes
from meshware.envoy.security import NotExported, security_of
from meshware.envoy.values import (
    ClusterKey,
    Json,
    Say,
    any_of,
    cluster_name,
    duration,
    path_config,
)
from meshware.policy.file import Records
from meshware.policy.peer_modes import mode_at
from meshware.policy.record_types import WorkloadRecord
from meshware.policy.view import Client, View

__all__ = ["CA_FILE", "ENDPOINTS", "Endpoints", "Export", "Settings", "export_files"]

ENDPOINTS = "eds"
"""The directory of the files of endpoints."""

CA_FILE = "/etc/ssl/certs/ca-certificates.crt"
"""Where Debian, Ubuntu and Alpine keep the roots of the web."""

MOST_FILES = 64
"""With more clusters than that, endpoints stand in `cds.json`, unless files are asked for."""

Endpoints = Literal["auto", "files", "inline"]

_LISTENER = "envoy.config.listener.v3.Listener"
_CLUSTER = "envoy.config.cluster.v3.Cluster"
_ROUTES = "envoy.config.route.v3.RouteConfiguration"
_ENDPOINTS = "envoy.config.endpoint.v3.ClusterLoadAssignment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the one who asks for a configuration chooses."""

    directory: str  # where Envoy will find the files, absolute
    address: str = "127.0.0.1"
    port: int = 15001
    admin_port: int | None = 15000  # None: no administration
    locality: str = ""  # region/zone/subzone of the client; "": as policy has it
    ca_file: str = CA_FILE
    endpoints: Endpoints = "auto"
    identity: str | None = None  # the directory of `svid.pem`, absolute; None: there is none
    inbound: tuple[str, int] | None = None  # where the workload's own callers arrive; None: nowhere
    app_port: int = 8080  # where its app listens, on the loopback


@dataclass(frozen=True, slots=True)
class Export:
    """A configuration."""

    files: dict[str, bytes]  # by the name below the directory, in the order to replace them
    warnings: tuple[str, ...]  # what of policy Envoy will not do, with the resource
    hosts: int  # with each port apart
    clusters: int


def export_files(records: Records, client: Client, settings: Settings) -> Export:
    """Return the configuration of an Envoy that calls as a client would."""
    warnings: dict[str, None] = {}

    def say(resource: str, text: str) -> None:
        warnings[f"{resource}: {text}"] = None

    workload = _workload(records, client, say)
    if workload is not None:
        client = replace(client, labels=workload.labels, locality=workload.locality)
    view = View(records, client)
    identity = None
    if settings.identity is not None:
        identity = Identity(settings.identity, settings.directory, bundles_of(records))
    routes = Routes(view)
    hosts = virtual_hosts(view, records, routes, say)
    around = Surroundings(
        locality=settings.locality or view.client.locality or "",
        ca_file=settings.ca_file,
        identity=identity,
    )
    passes_through = view.outbound_mode == "ALLOW_ANY"

    clusters: list[Json] = []
    files: dict[str, Json] = {} if identity is None else identity.secrets()
    # A destination that is not there gets no cluster: its calls are answered 503, flag NC.
    found = [there for key in sorted(routes.clusters) if (there := behind(view, key)) is not None]
    in_files = settings.endpoints == "files" or (
        settings.endpoints == "auto" and len(found) <= MOST_FILES
    )
    for there in found:
        in_file = in_files and not has_names(view, there) and not is_original(there)
        name = _endpoints_file(there.key) if in_file else None
        path = posixpath.join(settings.directory, name) if name else None
        clusters.append(cluster(view, there, path, around, say))
        if name:
            endpoints = assignment(view, there, around)
            files[name] = _discovery(_ENDPOINTS, [endpoints])
    if passes_through:
        clusters.append(pass_through(duration(view.mesh.connect_timeout_s)))
    routing = {"name": ROUTES, "virtual_hosts": hosts, "max_direct_response_body_size_bytes": 2**20}
    files["cds.json"] = _discovery(_CLUSTER, clusters)
    files["rds.json"] = _discovery(_ROUTES, [routing])
    path = posixpath.join(settings.directory, "rds.json")
    listeners = [listener(settings.address, settings.port, path)]
    if settings.inbound is not None:
        about = _About(records, view, workload, around)
        arriving = _inbound(about, settings.inbound, say)
        if arriving is not None:
            listeners.append(arriving[0])
            clusters += [app_cluster(settings.app_port), *arriving[1]]
            files["cds.json"] = _discovery(_CLUSTER, clusters)
    files["lds.json"] = _discovery(_LISTENER, listeners)
    cuts_fragments = view.mesh.normalization is not None
    files["bootstrap.json"] = _bootstrap(client, settings, cuts_fragments=cuts_fragments)
    return Export(
        files={name: _encode(content) for name, content in files.items()},
        warnings=tuple(warnings),
        hosts=len(hosts) - 1,
        clusters=len(clusters),
    )


def _workload(records: Records, client: Client, say: Say) -> WorkloadRecord | None:
    """Return what policy says of the client's own workload."""
    data = records.get(f"workload/{client.namespace}/{client.name}")
    if data is None:
        say(f"workload {client.namespace}/{client.name}", "policy names none, so it has no labels")
        return None
    return msgspec.json.decode(data, type=WorkloadRecord)


@dataclass(frozen=True, slots=True)
class _About:
    """Whose listener it is."""

    records: Records
    view: View
    workload: WorkloadRecord | None
    around: Surroundings


def _inbound(
    about: _About, where: tuple[str, int], say: Say
) -> tuple[Json, tuple[Json, ...]] | None:
    """Return the listener before the app, and the clusters that deciding takes.

    None: it cannot be what policy says, and is left out.
    """
    view, workload, identity = about.view, about.workload, about.around.identity
    resource = f"workload {view.client.namespace}/{view.client.name}"
    if workload is None:
        say(resource, "who may call it is not known: the inbound listener is left out")
        return None
    mode = mode_at(workload.peer, where[1])
    if identity is None and mode != "DISABLE":
        say(
            resource,
            f"its mode is {mode}, which takes an identity: name its directory by --identity; "
            "without it the inbound listener is left out",
        )
        return None
    try:
        security = security_of(about.records, workload, view.mesh, about.around.ca_file, say)
    except NotExported as error:
        say(error.resource, f"{error.why}: the inbound listener is left out")
        return None
    if view.mesh.xfcc_trusted_proxies:
        say(
            "MeshConfig",
            "xfccTrustedProxies: rules of the inbound listener are asked about such a proxy "
            "itself, whatever it says of its own caller",
        )
    if "ACCEPT" in (workload.tokens.mode, *workload.tokens.ports.values()):
        say(resource, "Envoy takes no token identities: callers prove themselves by certificates")
    chains = [({}, {})] if identity is None else downstream(identity, mode)
    inbound = Inbound(
        filters=security.filters,
        normalization=view.mesh.normalization,
        trusted_hops=view.mesh.trusted_hops,
    )
    return inbound_listener(*where, chains, inbound), security.clusters


def _endpoints_file(key: ClusterKey) -> str:
    """Return the file of a cluster's endpoints, in letters that every file system takes."""
    return f"{ENDPOINTS}/{quote(cluster_name(key), safe='')}.json"


def _discovery(kind: str, resources: list[Json]) -> Json:
    return {"resources": [any_of(kind, **resource) for resource in resources]}


def _bootstrap(client: Client, settings: Settings, *, cuts_fragments: bool) -> Json:
    def follow(name: str) -> Json:
        return path_config(posixpath.join(settings.directory, name))

    name = client.name or "unknown"
    found: Json = {
        "node": {"id": f"{name}.{client.namespace}", "cluster": f"{name}.{client.namespace}"},
        "dynamic_resources": {"lds_config": follow("lds.json"), "cds_config": follow("cds.json")},
    }
    if cuts_fragments:
        # As Istio does: where MeshConfig says how paths are normalised, `#...` is cut, not refused.
        layer = {"envoy.reloadable_features.http_reject_path_with_fragment": False}
        found["layered_runtime"] = {"layers": [{"name": "static", "static_layer": layer}]}
    if settings.admin_port is not None:
        where = {"address": "127.0.0.1", "port_value": settings.admin_port}
        found["admin"] = {"address": {"socket_address": where}}
    return found


def _encode(content: Json) -> bytes:
    return msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n"
