"""`meshware check --app`: the app as its framework has it, beside the rules of its workload."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from meshware.cli.output import table
from meshware.errors import SettingsError
from meshware.policy.document.service_entry import WorkloadEntrySpec, WorkloadGroupSpec
from meshware.policy.handler_coverage import Coverage, coverage_of
from meshware.policy.parse import Resource
from meshware.policy.records import labels_of
from meshware.policy.validate.mesh_config import root_namespace_of
from meshware.runtime.settings import workload_client

__all__ = ["endpoint_lines", "import_app", "look_at_app"]


def look_at_app(app: str, workload: str | None, resources: Sequence[Resource]) -> Coverage:
    """Return what the rules of a workload say about the endpoints of an app.

    Args:
        app: `module:app`.
        workload: `namespace/name`, as MESH_WORKLOAD has it.
        resources: all of policy.

    Raises:
        SettingsError: the app or the workload is not there, or the app is of no known framework.
    """
    from meshware.handlers.listing import endpoints_of

    if not workload:
        raise SettingsError("--app needs --workload: whose rules the app is to be compared with")
    client = workload_client(workload)
    known = {
        (resource.namespace, resource.name): labels_of(resource)
        for resource in resources
        if isinstance(resource.spec, WorkloadEntrySpec | WorkloadGroupSpec)
    }
    own = (client.namespace, client.name or "")
    if own not in known:
        raise SettingsError(
            f"--workload {workload}: policy has no such WorkloadEntry or WorkloadGroup; name one "
            "that it has"
        )
    endpoints = endpoints_of(import_app(app))
    if endpoints is None:
        raise SettingsError(
            f"--app {app}: it is neither FastAPI, Starlette, Flask nor Django, nor anything that "
            "leads to one by its attribute `app`; name the framework's own app"
        )
    return coverage_of(
        endpoints,
        resources,
        namespace=client.namespace,
        labels=known[own],
        others=[(place[0], labels) for place, labels in known.items() if place != own],
        root_namespace=root_namespace_of(resources),
    )


def import_app(written: str) -> Any:
    """Return the app that `module:app`, or `module:make()`, names.

    The working directory is searched first, as servers do. What a module prints while it is
    imported goes to standard error: standard output is for findings.

    Raises:
        SettingsError: it cannot be had; the message says why.
    """
    module_name, _, path = written.partition(":")
    path = path or "app"
    if not module_name:
        raise SettingsError(f"--app {written!r}: write module:app, such as shop.web:app")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    attribute = path.removesuffix("()")
    from meshware.handlers.words import in_words

    with contextlib.redirect_stdout(sys.stderr):
        try:
            found: Any = importlib.import_module(module_name)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever an app does as it is imported
            raise SettingsError(
                f"--app {written}: importing {module_name} failed: {in_words(error, os.getcwd())}"
            ) from error
        for name in attribute.split("."):
            if not hasattr(found, name):
                raise SettingsError(f"--app {written}: {module_name} has no {attribute}")
            found = getattr(found, name)
        if path == attribute:
            return found
        try:
            return found()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever an app does as it is imported
            raise SettingsError(
                f"--app {written}: {path} failed: {in_words(error, os.getcwd())}"
            ) from error


def endpoint_lines(coverage: Coverage) -> list[str]:
    """Return a table of the endpoints: what allows each, and what may stop it."""
    rows = [("METHOD", "ROUTE", "FUNCTION", "OPERATION ID", "ALLOWED BY", "MAY BE STOPPED BY")]
    for endpoint, allowed, stopped in zip(
        coverage.endpoints, coverage.allowed_by, coverage.stopped_by, strict=True
    ):
        handler = endpoint.handler
        ids = (handler.operation_ids if handler else None) or ()
        rows.append(
            (
                endpoint.method or "any",
                endpoint.route,
                handler.functions[-1] if handler else "not known",
                ", ".join(ids) or "-",
                ", ".join(allowed) or "-",
                ", ".join(stopped) or "-",
            )
        )
    return table(rows)
