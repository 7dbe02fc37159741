"""Where each resource was written, for whoever names it to people.

Records say what policy means and not where it stands: a file and a line in them would be a change
of policy for every worker whenever somebody adds a comment. So the places are kept beside them, by
whoever reads the sources; of a published policy file there are none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from meshware.policy.delegates import Part, delegates_of, parts_of
from meshware.policy.document.virtual_service import VirtualServiceSpec
from meshware.policy.parse import Origin, Resource

__all__ = ["Name", "Places"]


class Name(NamedTuple):
    """A resource by its kind, namespace and name."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """Return `Kind namespace/name`, as people read it."""
        return f"{self.kind} {self.namespace}/{self.name}"


class Places:
    """File and line of resources and their fields.

    Args:
        resources: as they were read; none where policy comes from a policy file.
    """

    def __init__(self, resources: Iterable[Resource] = ()) -> None:
        kept = tuple(resources)
        self._resources = {Name(r.kind, r.namespace, r.name): r for r in kept}
        self._delegates = delegates_of(kept)
        self._parts: dict[Name, tuple[Part, ...]] = {}

    def find(self, name: Name, field: str = "") -> Origin | None:
        """Return where a resource is written, or one of its fields; None: nobody knows.

        Args:
            name: the resource's.
            field: a path like `spec.http[0]`; one that is not written has the place of the
                nearest around it.
        """
        resource = self._resources.get(name)
        if resource is None:
            return None
        return Origin(resource.origin.file, resource.line_of(field))

    def parts(self, name: Name) -> tuple[Part, ...]:
        """Return the rules of a VirtualService as its record has them; none: nobody knows."""
        if name not in self._parts:
            resource = self._resources.get(name)
            spec = resource.spec if resource is not None else None
            self._parts[name] = (
                tuple(parts_of(spec, name.namespace, self._delegates))
                if isinstance(spec, VirtualServiceSpec)
                else ()
            )
        return self._parts[name]

    def of_kind(self, kind: str) -> list[Resource]:
        """Return the resources of a kind."""
        return [resource for name, resource in self._resources.items() if name.kind == kind]
