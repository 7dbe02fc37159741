"""Write the pages that are made from the code: `make docs`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from meshware.envoy.differences import DIFFERENCES, RULE_DIFFERENCES, Difference
from meshware.policy.fields import FieldStatus, fields_of, kinds
from meshware.policy.kinds import NOT_CARRIED, Kind
from meshware.policy.support import Status

ROOT = Path(__file__).resolve().parents[1]
COMPATIBILITY = ROOT / "docs" / "reference" / "istio-compatibility.md"

_HEAD = """\
# Istio compatibility, field by field

Made from the code by `make docs`; what it says is what `meshware check` does.

| status | means |
| --- | --- |
| done | carried out as in Istio and Envoy; a note says what there is to know |
| differs | carried out, in another way than Istio: the note says how |
| in part | of the fields within it, some are done |
| not supported yet | refused at load, never ignored |
| not applicable | refused at load: it has no meaning in an app's process, for the reason given |

`[]` stands for each item of a list, `{}` for each value of a mapping. A field that stands
nowhere here is refused as unknown. Where the mesh differs from a sidecar as a whole:
[decision 5](../decisions/0005-where-the-mesh-differs-from-a-sidecar.md).
"""


def compatibility() -> str:
    """Return the page of fields."""
    parts = [_HEAD, _summary()]
    for kind in kinds():
        parts.append(_section(kind))
    parts.append(_differences())
    parts.append(_not_carried())
    return "\n".join(parts)


def _summary() -> str:
    lines = ["| kind | " + " | ".join(Status) + " |", "| --- |" + " ---: |" * len(Status)]
    for kind in kinds():
        found = list(fields_of(kind))
        counts = [sum(_counts_as(field) is status for field in found) for status in Status]
        lines.append(f"| [{kind.label}](#{_anchor(kind)}) | " + " | ".join(map(str, counts)) + " |")
    return "\n".join(lines) + "\n"


def _counts_as(field: FieldStatus) -> Status:
    return Status.DONE if field.is_partly_done else field.support.status


def _anchor(kind: Kind) -> str:
    return "".join(c for c in kind.label.lower().replace(" ", "-") if c.isalnum() or c == "-")


def _section(kind: Kind) -> str:
    versions = ", ".join(f"`{kind.group}/{version}`" for version in kind.versions)
    lines = [
        f"## {kind.label}",
        "",
        versions,
        "",
        "| field | type | status |",
        "| --- | --- | --- |",
    ]
    lines += [f"| `{field.path}` | {field.type} | {_status(field)} |" for field in fields_of(kind)]
    return "\n".join(lines) + "\n"


def _status(field: FieldStatus) -> str:
    support = field.support
    word = "in part" if field.is_partly_done else str(support.status)
    text = f"{word}: {support.note}" if support.note else word
    return text.replace("|", "\\|")


def _differences() -> str:
    lines = [
        "## Beside a real Envoy",
        "",
        "`make conformance` plays the same calls through the mesh and through Envoy 1.40 with what "
        "`meshware export envoy` writes, and fails on any difference but these.",
        "",
        *_table(DIFFERENCES),
        "",
        "It also sends thousands of requests, by chance, to an app behind either, under policies "
        "by chance, and fails on any decision that differs for another reason than these.",
        "",
        *_table(RULE_DIFFERENCES),
    ]
    return "\n".join(lines) + "\n"


def _table(differences: Mapping[str, Difference]) -> list[str]:
    rows = [f"| {found.what} | {found.why} |" for found in differences.values()]
    return ["| difference | why |", "| --- | --- |", *rows]


def _not_carried() -> str:
    lines = ["## Kinds that are skipped", "", "With a warning from `meshware check`.", ""]
    lines += ["| kind | why |", "| --- | --- |"]
    lines += [f"| `{name}` of `{group}` | {why} |" for (group, name), why in NOT_CARRIED.items()]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the pages; with `--check` say whether they are as the code has them."""
    text = compatibility()
    if "--check" in sys.argv[1:]:
        is_same = COMPATIBILITY.exists() and COMPATIBILITY.read_text(encoding="utf-8") == text
        if not is_same:
            print(f"{COMPATIBILITY.relative_to(ROOT)} is not as the code has it: run make docs")
        return 0 if is_same else 1
    COMPATIBILITY.parent.mkdir(parents=True, exist_ok=True)
    COMPATIBILITY.write_text(text, encoding="utf-8")
    print(f"wrote {COMPATIBILITY.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
