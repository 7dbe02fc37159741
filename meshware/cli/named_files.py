"""Look for the files that policy names, as far as this machine can tell.

They are files of the clients, or of the machine that fetches keys. Where policy is checked they may
well not be, so what is not seen is a warning, and never refuses a policy.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from meshware.policy.codes import FILE_NOT_SEEN
from meshware.policy.document.mesh_config import MeshConfigSpec
from meshware.policy.parse import Resource
from meshware.policy.problems import Problem
from meshware.policy.validate.client_tls import files_named
from meshware.policy.validate.common import Report
from meshware.policy.yaml12 import brief

__all__ = ["unseen_files"]


def unseen_files(resources: Iterable[Resource]) -> list[Problem]:
    """Return a warning for each file that policy names and that cannot be read here."""
    report = Report()
    for resource in resources:
        named = [
            (field, path, "calls that need it are 503 UF in every process that finds it so")
            for field, path in files_named(resource)
        ]
        spec = resource.spec
        if isinstance(spec, MeshConfigSpec) and spec.jwks and spec.jwks.ca_file:
            what = "no keys of tokens are fetched by a daemon that finds it so"
            named.append(("spec.jwks.caFile", spec.jwks.ca_file, what))
        for field, path, what in named:
            wrong = _wrong(path)
            if wrong is not None:
                report.warning(
                    resource,
                    field,
                    f"{brief(path)} {wrong} here; {what}: put the file there, or mend the path",
                    FILE_NOT_SEEN,
                )
    return report.problems


def _wrong(path: str) -> str | None:
    try:
        if not Path(path).exists():
            return "does not exist"
        if not Path(path).is_file():
            return "is not a file"
        return None if os.access(path, os.R_OK) else "cannot be read"
    except (OSError, ValueError):
        return "cannot be looked for"
