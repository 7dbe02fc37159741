"""The one listener: an HTTP proxy that applications name in `http_proxy`, or call by Host."""

from __future__ import annotations

from meshware.envoy.filters import CORS, FAULT
from meshware.envoy.hosts import PASS_THROUGH
from meshware.envoy.values import Json, any_of, path_config

__all__ = ["ROUTES", "listener", "pass_through"]

ROUTES = "outbound"
"""The name of the one RouteConfiguration."""

_HTTP = "envoy.filters.http."
_TYPES = "envoy.extensions.filters.http."
_DNS_CACHE = {"name": "outbound", "dns_lookup_family": "ALL"}


def listener(address: str, port: int, routes_path: str) -> Json:
    """Return the Listener.

    Args:
        address: where it listens.
        port: likewise.
        routes_path: the file of its routes.
    """
    filters = [
        {"name": FAULT, "typed_config": any_of(f"{_TYPES}fault.v3.HTTPFault")},
        {"name": CORS, "typed_config": any_of(f"{_TYPES}cors.v3.Cors")},
    ]
    kind = f"{_TYPES}dynamic_forward_proxy.v3.FilterConfig"
    filters.append(
        {
            "name": f"{_HTTP}dynamic_forward_proxy",
            "typed_config": any_of(kind, dns_cache_config=_DNS_CACHE),
        }
    )
    filters.append({"name": f"{_HTTP}router", "typed_config": any_of(f"{_TYPES}router.v3.Router")})
    manager = any_of(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="outbound",
        codec_type="AUTO",
        rds={"route_config_name": ROUTES, "config_source": path_config(routes_path)},
        http_filters=filters,
        # The app's own request: nothing is trusted or kept from it as from the edge.
        use_remote_address=False,
        skip_xff_append=True,
        stream_idle_timeout="0s",  # as Istio: policy's time-outs are the only ones
        server_header_transformation="PASS_THROUGH",
        upgrade_configs=[{"upgrade_type": "websocket"}],
    )
    chain = {
        "filters": [
            {
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": manager,
            }
        ]
    }
    where = {"socket_address": {"address": address, "port_value": port}}
    return {"name": "outbound", "address": where, "filter_chains": [chain]}


def pass_through(connect_timeout: str) -> Json:
    """Return the cluster of hosts that the mesh does not know: whatever the request names."""
    return {"connect_timeout": connect_timeout, **original(PASS_THROUGH)}


def original(name: str) -> Json:
    """Return the fields of a cluster that calls the host which the request names."""
    kind = "envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig"
    return {
        "name": name,
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {
            "name": "envoy.clusters.dynamic_forward_proxy",
            # Whom to verify is said by the cluster's TLS, where it has any: Envoy wants it said of
            # those in plaintext too.
            "typed_config": any_of(
                kind, dns_cache_config=_DNS_CACHE, allow_insecure_cluster_options=True
            ),
        },
    }
