"""Turn policy text, files and directories into resources, with every problem there is.

Only what one resource says by itself is looked at here: whether it is YAML, of a known kind, with
known fields of the right types. What resources mean together is `validate`'s matter.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from meshware.policy.codes import (
    EMPTY,
    INVALID,
    NOT_APPLICABLE,
    NOT_SUPPORTED_YET,
    SIZE,
    UNKNOWN_KIND,
    UNREADABLE,
)
from meshware.policy.decode import BAD, Decoder
from meshware.policy.directories import SUFFIXES, policy_files
from meshware.policy.document.common import Document
from meshware.policy.kinds import Kind, classify
from meshware.policy.metadata import check_top, read_texts, text_of
from meshware.policy.problems import Problem, Severity
from meshware.policy.support import Status, support_of
from meshware.policy.yaml12 import (
    MAX_BYTES,
    MappingNode,
    Node,
    ScalarNode,
    SequenceNode,
    YAMLProblem,
    from_python,
    read,
)

__all__ = [
    "DEFAULT_NAMESPACE",
    "MAX_PROBLEMS",
    "Origin",
    "Resource",
    "parse_mapping",
    "parse_paths",
    "parse_text",
    "policy_files",
]

DEFAULT_NAMESPACE = "default"
MAX_PROBLEMS = 10_000  # of one text: more help nobody, and hostile text has millions
_MOST_BROKEN = 20  # documents of one text that are not YAML: what follows is read anew for each


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a resource was written."""

    file: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One resource as written, and where."""

    kind: str
    group: str
    namespace: str
    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    created: str  # metadata.creationTimestamp, or ""
    spec: Document
    origin: Origin
    lines: Mapping[str, int]  # field path -> line
    is_whole: bool = True  # False: refused, and kept for what others refer to

    @property
    def key(self) -> str:
        """Return `Kind/namespace/name`."""
        return f"{self.kind}/{self.namespace}/{self.name}"

    def line_of(self, path: str) -> int:
        """Return the line of a field, or of the nearest one around it that is written."""
        while path:
            found = self.lines.get(path)
            if found is not None:
                return found
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.origin.line


Parsed = tuple[list[Resource], list[Problem]]
"""Resources, refused ones without what is wrong with them, and all problems."""


def parse_text(text: str | bytes, file: str | None = None) -> Parsed:
    """Return the resources of a text, and all that is wrong with it.

    Args:
        text: YAML or JSON, several documents or a `List` allowed.
        file: as problems shall name it.
    """
    parser = _Parser(file)
    rest: str | bytes | None = text
    try:
        for _ in range(_MOST_BROKEN):
            if rest is None:
                break
            try:
                for node in read(rest, parser.take):
                    parser.document(node)
                rest = None
            except YAMLProblem as problem:
                parser.broken(problem)
                rest = problem.rest
    except _EnoughError:
        parser.give_up()
    return parser.end()


def parse_mapping(mapping: Mapping[str, Any], file: str | None = None) -> Parsed:
    """Return the one resource that a mapping holds, and all that is wrong with it."""
    parser = _Parser(file)
    try:
        parser.document(from_python(mapping))
    except YAMLProblem as problem:
        parser.take(problem)
    except _EnoughError:
        parser.give_up()
    return parser.end()


def parse_paths(paths: Iterable[Path]) -> Parsed:
    """Return the resources of files and directories, and all that is wrong with them.

    A file that is named twice is read once.
    """
    resources: list[Resource] = []
    problems: list[Problem] = []
    seen: set[str] = set()
    for path in paths:
        try:
            files = policy_files(path)
        except OSError as error:
            problems.append(_unreadable(path, error))
            continue
        if not files:
            message = f"empty: no {', '.join(SUFFIXES)} file in this directory; add one"
            problems.append(_file_problem(EMPTY, path, message))
        for file in files:
            real = os.path.realpath(file)
            if real in seen:
                continue
            seen.add(real)
            found, wrong = _parse_file(file)
            resources += found
            problems += wrong
    return resources, problems


def _parse_file(path: Path) -> Parsed:
    try:
        # Opened without waiting: a named pipe among the files must not hold the daemon.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        return [], [_unreadable(path, error)]
    if len(data) > MAX_BYTES:
        message = f"size: more than {MAX_BYTES // 1024 // 1024} MiB; split it into files"
        return [], [_file_problem(SIZE, path, message)]
    return parse_text(data, str(path))


def _unreadable(path: Path, error: OSError) -> Problem:
    reason = error.strerror or str(error)
    return _file_problem(UNREADABLE, path, f"cannot be read: {reason}; mend the path or its mode")


def _file_problem(code: str, path: Path, message: str) -> Problem:
    return Problem(
        severity=Severity.ERROR,
        code=code,
        kind=None,
        namespace=DEFAULT_NAMESPACE,
        name=None,
        field=None,
        file=str(path),
        line=1,
        message=message,
    )


class _EnoughError(Exception):
    """There are more problems than anybody reads."""


class _Parser:
    """Collects the resources and problems of one text."""

    def __init__(self, file: str | None) -> None:
        self.file = file
        self.resources: list[Resource] = []
        self.problems: list[Problem] = []
        self._who: tuple[str | None, str, str | None] = (None, DEFAULT_NAMESPACE, None)
        self._taken: list[YAMLProblem] = []  # about the document that is being read

    def take(self, problem: YAMLProblem) -> None:
        """Keep what the reader tells until it is known which resource it is about."""
        self._taken.append(problem)
        if len(self._taken) > MAX_PROBLEMS:
            raise _EnoughError

    def broken(self, problem: YAMLProblem) -> None:
        """Take the end of a document that is not YAML."""
        self.take(problem)
        self._who = (None, DEFAULT_NAMESPACE, None)
        self._tell_taken()

    def give_up(self) -> None:
        """Say that there is more, after the limit of problems was met."""
        self._tell_taken()
        self._who = (None, DEFAULT_NAMESPACE, None)
        line = self.problems[-1].line
        message = f"size: more than {MAX_PROBLEMS} problems; mend those before this line first"
        self._add(SIZE, None, line, message, Severity.ERROR)

    def end(self) -> Parsed:
        """Return what was found in the whole text."""
        self._tell_taken()
        if not self.resources and not self.problems:
            message = "empty: there is no resource here; write one or remove the file"
            self._add(EMPTY, None, 1, message, Severity.ERROR)
        return self.resources, self.problems

    def _tell_taken(self) -> None:
        taken, self._taken = self._taken, []
        for problem in taken:
            self._add(problem.code, problem.field, problem.line, problem.message, Severity.ERROR)

    def tell(
        self,
        code: str,
        field: str | None,
        line: int | None,
        message: str,
        severity: Severity = Severity.ERROR,
    ) -> None:
        """Add a problem of the resource at hand."""
        if len(self.problems) >= MAX_PROBLEMS:
            raise _EnoughError
        self._add(code, field, line, message, severity)

    def _add(
        self, code: str, field: str | None, line: int | None, message: str, severity: Severity
    ) -> None:
        kind, namespace, name = self._who
        self.problems.append(
            Problem(
                severity=severity,
                code=code,
                kind=kind,
                namespace=namespace,
                name=name,
                field=field,
                file=self.file,
                line=line,
                message=message,
            )
        )

    def document(self, node: Node) -> None:
        """Take one document: a resource or a List of them."""
        self._document(node)
        self._who = (None, DEFAULT_NAMESPACE, None)
        self._tell_taken()

    def _document(self, node: Node) -> None:
        if not isinstance(node, MappingNode):
            self.tell(
                INVALID, None, node.line, "this is not a resource; write apiVersion, kind, ..."
            )
            return
        items = node.items.get("items")
        if text_of(node, "kind") == "List" and items is not None:
            # What the reader told of a list names no item, so it is nobody's.
            self._tell_taken()
            if isinstance(items[1], SequenceNode):
                for item in items[1].items:
                    self._document(item)
                    self._who = (None, DEFAULT_NAMESPACE, None)
            else:
                self.tell(INVALID, "items", items[0], "items is not a list; write a list")
            return
        self._resource(node)

    def _resource(self, node: MappingNode) -> None:
        api_version, kind_name = text_of(node, "apiVersion"), text_of(node, "kind")
        metadata = self._metadata_node(node)
        namespace = (text_of(metadata, "namespace") if metadata else None) or DEFAULT_NAMESPACE
        name = text_of(metadata, "name") if metadata else None
        self._who = (kind_name, namespace, name)
        is_whole = not self._taken
        self._tell_taken()
        if api_version is None or kind_name is None:
            for field in [f for f in ("apiVersion", "kind") if text_of(node, f) is None]:
                written = node.items.get(field)
                what = "is missing; add it" if written is None else "is no name; write its text"
                self.tell(INVALID, field, written[0] if written else node.line, f"{field} {what}")
            return
        kind = classify(api_version, kind_name)
        if not isinstance(kind, Kind):
            code = UNKNOWN_KIND if kind.is_error else NOT_APPLICABLE
            severity = Severity.ERROR if kind.is_error else Severity.WARNING
            self.tell(code, kind.field, node.items[kind.field][0], kind.message, severity)
            return
        before = len(self.problems)
        decoder = Decoder(self.tell, {field: line for field, (line, _) in node.items.items()})
        check_top(node, metadata, self.tell)
        for field, (line, _) in (metadata.items if metadata else {}).items():
            decoder.lines[f"metadata.{field}"] = line
        labels = read_texts(metadata, "labels", decoder.lines, self.tell)
        annotations = read_texts(metadata, "annotations", decoder.lines, self.tell)
        spec = self._spec(node, kind, decoder)
        is_whole = is_whole and spec is not BAD and len(self.problems) == before
        if name is None:
            return
        if not is_whole:
            # What it declares is there all the same for others to refer to: one mistake is told
            # once, and not again of each resource that counts on this one.
            spec = _the_rest(node, kind)
            if spec is BAD:
                return
        self.resources.append(
            Resource(
                kind=kind.name,
                group=kind.group,
                namespace=namespace,
                name=name,
                labels=labels,
                annotations=annotations,
                created=(text_of(metadata, "creationTimestamp") if metadata else None) or "",
                spec=spec,
                origin=Origin(self.file or "", node.line),
                lines=MappingProxyType(decoder.lines),
                is_whole=is_whole,
            )
        )

    def _spec(self, node: MappingNode, kind: Kind, decoder: Decoder) -> Any:
        line, written = node.items.get("spec", (node.line, MappingNode({}, node.line)))
        support = support_of(f"{kind.label}.spec")
        if support.status is Status.LATER and kind.name != "MeshConfig":
            self.tell(
                NOT_SUPPORTED_YET,
                "spec",
                line,
                f"{kind.label} is not supported yet ({support.note}); remove the resource",
            )
            return BAD
        if isinstance(written, ScalarNode) and written.value is None:
            written = MappingNode({}, line)
        return decoder.document(written, kind.spec, "spec", f"{kind.label}.spec")

    def _metadata_node(self, node: MappingNode) -> MappingNode | None:
        found = node.items.get("metadata")
        return found[1] if found is not None and isinstance(found[1], MappingNode) else None


def _the_rest(node: MappingNode, kind: Kind) -> Any:
    """Return the spec of a refused resource without what is wrong with it, or BAD."""
    found = node.items.get("spec")
    if found is None or not isinstance(found[1], MappingNode):
        return BAD
    decoder = Decoder(lambda *_: None, keeps_the_rest=True)
    return decoder.document(found[1], kind.spec, "spec", f"{kind.label}.spec")
