"""`meshware explain`: what policy decides about a call, and why."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from meshware.cli.options import PLACE, format_option
from meshware.cli.records import naming
from meshware.clock import SystemClock
from meshware.errors import SettingsError
from meshware.policy.dns_records import with_names
from meshware.policy.file import MemoryRecords
from meshware.policy.places import Places
from meshware.policy.records import build_records
from meshware.runtime.explain import Explainer, Handling, Question, Source
from meshware.runtime.explain_text import text_of
from meshware.runtime.policy_file import open_policy_file, trusted_owners
from meshware.runtime.readers import is_source, load_sources
from meshware.runtime.settings import workload_client

__all__ = ["command"]

USAGE = 2
_QUESTION = msgspec.json.Decoder(Question)
_UNREADABLE = (msgspec.MsgspecError, SettingsError, UnicodeDecodeError, RecursionError)


@click.command("explain", short_help="Tell what policy decides about a call, and why.")
@click.option(
    "--policy",
    type=PLACE,
    envvar="MESH_CONFIG",
    required=True,
    help="A policy file, or a YAML file or directory.  [default: $MESH_CONFIG]",
)
@click.option(
    "--workload",
    envvar="MESH_WORKLOAD",
    required=True,
    help="namespace/name of the workload that is asked.  [default: $MESH_WORKLOAD]",
)
@click.option("--batch", is_flag=True, help="Answer each line of NDJSON with one, as JSON.")
@format_option
def command(policy: Path, workload: str, batch: bool, output: str) -> int:
    """Answer questions about calls, read as JSON from standard input.

    A question: {"direction": "inbound", "method": "GET", "path": "/reviews/1", "source": {"ip":
    "10.0.0.9"}, "headers": [["end-user", "jason"]]}, or with "outbound" and the "host" that is
    called. Exit code: 1 when a single call is refused, 2 when a question cannot be read.
    """
    explainer = _explainer(policy, workload)
    if explainer.snapshot.inbound is None:
        _warn(f"the policy names no workload {workload}: inbound calls are answered 503")
    unread = 0
    answers = []
    for line, text in _questions(sys.stdin.buffer.read(), batch):
        try:
            answer = explainer.answer(_QUESTION.decode(text))
        except _UNREADABLE as error:
            if not batch:
                raise SettingsError(f"the question on standard input: {_in_words(error)}") from None
            unread += 1
            _warn(f"line {line} of standard input: {_in_words(error)}")
            click.echo(json.dumps({"id": _id_of(text), "error": _in_words(error)}))
            continue
        answers.append(answer)
        in_json = batch or output == "json"
        click.echo(msgspec.json.encode(answer).decode() if in_json else text_of(answer))
    for failure in explainer.failures:
        _warn(f"while answering: {failure}")
    if unread:
        return USAGE
    return 1 if not batch and any(answer.is_refused for answer in answers) else 0


def _explainer(policy: Path, workload: str) -> Explainer:
    client = workload_client(workload, "--workload (MESH_WORKLOAD)")
    with naming(policy):
        policy.stat()
        if is_source(policy):
            resources = load_sources(policy)
            made = MemoryRecords(with_names(build_records(resources)))
            return Explainer(made, client, places=Places(resources), now=SystemClock().now)
        records = open_policy_file(policy, trusted_owners(None))
    return Explainer(records, client, records.header.generation, now=SystemClock().now)


def _questions(data: bytes, batch: bool) -> Iterator[tuple[int, bytes]]:
    """Yield questions with their line numbers; one JSON object may span lines."""
    if batch:
        for number, line in enumerate(data.splitlines(), 1):
            if line.strip():
                yield number, line
        return
    if not data.strip():
        raise SettingsError("standard input is empty; write the question there, as JSON")
    yield 1, data


_FIELDS = {"source": Source, "handlers": Handling}


def _in_words(error: Exception) -> str:
    """Return what is wrong with a question, with what may stand there where that is a few words."""
    text = str(error)
    if not isinstance(error, msgspec.ValidationError):
        return text
    where = re.search(r"at `\$\.?(\w*)", text)
    part = where[1] if where else ""
    if "Invalid enum value" in text and part == "direction":
        return f'{text}; write "inbound" or "outbound"'
    if "unknown field" in text:
        fields = sorted(_FIELDS.get(part, Question).__struct_fields__)
        return f"{text}; there are {', '.join(fields)}"
    return text


def _id_of(text: bytes) -> Any:
    """Return the id of a question that cannot be answered, if that much can be read."""
    try:
        question = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return question.get("id") if isinstance(question, dict) else None


def _warn(message: str) -> None:
    click.echo(f"meshware: {message}", err=True)
