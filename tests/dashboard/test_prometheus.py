"""A server that is no Prometheus is one line that says what to mend."""

from __future__ import annotations

import asyncio
import json
import logging
import socket

import pytest
from bad_servers import answering

from meshware.dashboard.prometheus import HistoryError, Prometheus
from meshware.dashboard.promql import Selection, Span

CALLS = Selection({"destination_service": "cart"})
SPAN = Span.between(1_700_000_000, 1_700_003_600)


def asked(port: int, times: int = 1) -> list[str]:
    """What is said of a server that was asked some times in a row."""

    async def ask() -> list[str]:
        prometheus, said = Prometheus(f"http://127.0.0.1:{port}"), []
        for _ in range(times):
            with pytest.raises(HistoryError) as caught:
                await prometheus.series(CALLS, SPAN)
            said.append(str(caught.value))
        await prometheus.close()
        return said

    return asyncio.run(ask())


def http_reply(body: bytes, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


REFUSED = json.dumps({"status": "error", "error": "too many\nsamples"}).encode()


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (http_reply(b"<html>hello</html>"), "does --prometheus name the right server"),
        (http_reply(b"not here", "404 Not Found"), "answered 404"),
        (http_reply(b"", "302 Found"), "answered 302"),
        (http_reply(REFUSED, "422 Unprocessable Entity"), "too many samples"),
        (http_reply(b" " * 3_000_000), "sent more than"),
        (b"SSH-2.0-OpenSSH_9\r\n", "cannot be reached"),
        (b"", "cannot be reached"),
    ],
    ids=["html", "not found", "redirect", "refused", "endless", "no http", "hangs up"],
)
def test_it_is_said_once_in_the_log_and_each_time_to_the_reader(caplog, reply, words):
    with answering(reply) as port, caplog.at_level(logging.WARNING, "meshware.dashboard"):
        first, second = asked(port, 2)
    assert words in first
    assert first == second
    assert "\n" not in first
    told = [each.getMessage() for each in caplog.records if each.name == "meshware.dashboard"]
    assert [text.count(first) for text in told] == [1]


def test_nobody_there_is_said():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert "cannot be reached" in asked(port)[0]


def test_a_server_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr("meshware.dashboard.prometheus._MOST_S", 0.3)
    with answering(b"", hold=True) as port:
        assert "did not answer within" in asked(port)[0]
