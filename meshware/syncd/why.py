"""Ask policy about a call that was refused or failed: was it policy, and would it be today?

The answer comes from the core of `meshware explain`, over the policy that is published now. A
record holds neither headers nor query nor tokens, so rules that look at those are judged as if
there were none; that is said, and so is that policy has changed since.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgspec

from meshware.errors import MeshError
from meshware.legible import legible
from meshware.policy.places import Places
from meshware.policy.view import Client
from meshware.runtime.explain import Answer, Explainer, Question, Source
from meshware.runtime.explain_text import text_of
from meshware.runtime.outbound_answer import OutboundAnswer
from meshware.runtime.policy_file import open_policy_file, trusted_owners
from meshware.runtime.reporter import NO_WORKLOAD
from meshware.syncd.rings import SeenCall
from meshware.telemetry.call_record import CallRecord

__all__ = ["Why", "question_of"]

_NO_TOKEN = 401  # the status of a call whose token is missing or bad
_MOST_KEPT = 8  # workloads whose policy is compiled and kept

_NOT_KEPT = (
    "Headers, query and tokens of the call are not kept, nor what the app would have run: rules "
    "that look at them are judged as if there were none."
)


def question_of(call: CallRecord) -> Question:
    """Return the question that a record is the answer to, as far as it is known."""
    port = call.port if call.port else None
    if call.direction == "outbound":
        return Question(
            direction="outbound",
            method=call.method,
            scheme=call.scheme,
            host=call.host or call.service,
            port=port,
            path=call.path or "/",
        )
    return Question(
        direction="inbound",
        source=Source(principal=call.principal, ip=_address(call.source_ip)),
        method=call.method,
        scheme=call.scheme,
        host=call.host or None,
        port=port,
        path=call.path or "/",
    )


class Why:
    """Answers about calls. Safe to use from any thread; one call at a time.

    Args:
        policy_file: what is published.
        places: returns where its resources are written.
        now: aware UTC.
    """

    def __init__(
        self, policy_file: Path, places: Callable[[], Places], now: Callable[[], datetime]
    ) -> None:
        self._policy_file = policy_file
        self._places = places
        self._now = now
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], Explainer] = OrderedDict()  # by workload
        self._kept_of: tuple[int, str] | None = None  # generation and digest, of all that are kept

    def of(self, seen: SeenCall) -> dict[str, Any]:
        """Return what policy says now of a call, and what to make of it."""
        question = question_of(seen.call)
        told: dict[str, Any] = {
            "question": msgspec.to_builtins(question),
            "generation_then": seen.call.generation,
            "generation_now": None,
            "is_same_policy": None,
            "agrees": None,
            "answer": None,
            "text": [],
        }
        notes: list[str] = []
        with self._lock:
            try:
                generation, explainer = self._explainer(seen.namespace, seen.workload)
                told["generation_now"] = generation
                before = len(explainer.failures)
                answer = explainer.answer(question)
                failures = explainer.failures[before:]
                knows_workload = explainer.snapshot.inbound is not None
                del explainer.failures[:]
            except (MeshError, OSError, msgspec.MsgspecError, ValueError, RecursionError) as error:
                return {**told, "notes": [f"Policy cannot be asked about it: {_said(error)}"]}
        notes.append(_about_generations(seen.call.generation, generation))
        told["is_same_policy"] = generation == seen.call.generation
        if question.direction == "inbound" and not knows_workload:
            notes.append(f"The policy in force names no workload {seen.namespace}/{seen.workload}.")
        agrees, sentence = _compared(seen.call, answer)
        notes += [sentence, _NOT_KEPT]
        notes += [f"While answering: {_said(failure)}" for failure in failures[:3]]
        return {
            **told,
            "agrees": agrees,
            "notes": notes,
            "answer": msgspec.to_builtins(answer),
            "text": [legible(line) for line in text_of(answer).splitlines()],
        }

    def _explainer(self, namespace: str, workload: str) -> tuple[int, Explainer]:
        records = open_policy_file(self._policy_file, trusted_owners(None))
        header = records.header
        policy, key = (header.generation, header.index_sha256), (namespace, workload)
        if policy != self._kept_of:
            self._kept.clear()  # nobody asks again what earlier policy says
            self._kept_of = policy
        found = self._kept.get(key)
        if found is None:
            client = Client(namespace=namespace, name=None if workload == NO_WORKLOAD else workload)
            found = Explainer(records, client, header.generation, self._places(), now=self._now)
            self._kept[key] = found
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return header.generation, found


def _about_generations(then: int, now: int) -> str:
    if not then:
        return f"The worker had no policy then; generation {now} is in force now."
    if then == now:
        return f"Decided under generation {then}, which is still in force."
    return (
        f"Policy has changed since: decided under generation {then}, and generation {now} is in "
        "force now. The answer is that of the policy in force."
    )


def _compared(call: CallRecord, answer: Answer) -> tuple[bool, str]:
    """Say whether policy, as it is now, says the same; and in a sentence what it says."""
    if answer.inbound is not None:
        said = answer.inbound
        by = "" if said.policy is None else f" by {said.policy}"
        if call.outcome == "failed":
            if said.verdict == "allow":
                return True, "Policy lets such a call in: it was the app that failed."
            return False, f"Policy would not let such a call in: {said.status}{by}."
        if said.verdict == "allow":
            without = "without its token, which is not kept, " if call.status == _NO_TOKEN else ""
            return False, f"Policy would {without}let such a call in."
        if (said.status, said.policy, said.rule) == (call.status, call.policy, call.rule):
            return True, f"Policy refuses such a call in the same way: {said.status}{by}."
        return False, f"Policy refuses such a call in another way: {said.status}{by}."
    out = answer.outbound
    assert out is not None
    if call.outcome == "failed":
        if out.status is None:
            return True, "Policy sends such a call out: it was the destination that failed."
        return False, f"Policy would answer such a call itself: {_answer(out)}."
    if out.status is None:
        return False, (
            "Policy would send such a call out. What endpoints were out, and which limits were "
            "reached, is not kept."
        )
    if out.status == call.status:
        return True, f"Policy answers such a call itself: {_answer(out)}."
    return False, f"Policy answers such a call otherwise: {_answer(out)}."


def _answer(out: OutboundAnswer) -> str:
    return f"{out.status}" if out.flag in (None, "-") else f"{out.status}, flag {out.flag}"


def _address(written: str | None) -> str | None:
    try:
        return None if written is None else str(ip_address(written))
    except ValueError:
        return None  # a worker may say anything


def _said(error: Exception) -> str:
    return legible(str(error).replace("\n", "; "))[:500]
