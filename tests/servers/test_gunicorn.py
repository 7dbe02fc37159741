"""What of gunicorn is changed, and that its configuration is one for each kind of connection."""

from __future__ import annotations

import os

import pytest
from gunicorn.config import Config
from gunicorn.workers.base import Worker

from meshware.servers.gunicorn import certfile, install
from meshware.servers.gunicorn_workers import seen_as


@pytest.mark.parametrize("cert", [None, certfile])
@pytest.mark.parametrize("is_ssl", [True, False])
def test_a_connection_sees_its_own_tls_and_the_servers_other_settings(cert, is_ssl):
    cfg = Config()
    cfg.set("certfile", cert)
    cfg.set("keepalive", 7)
    view = seen_as(cfg, is_ssl)
    assert bool(view.is_ssl) is is_ssl
    assert view.keepalive == 7
    assert bool(cfg.is_ssl) is (cert is not None)
    cfg.set("keepalive", 8)
    assert view.keepalive == 8
    assert seen_as(view, is_ssl) is view


def test_the_file_that_gunicorn_is_shown_exists_and_holds_no_certificate():
    assert os.path.exists(certfile)
    with open(certfile, encoding="utf-8") as file:
        assert "-----BEGIN" not in file.read()


def test_a_second_install_changes_nothing(monkeypatch):
    import gunicorn.http
    import gunicorn.http.wsgi
    import gunicorn.sock

    for module, name in (
        (gunicorn.http, "get_parser"),
        (gunicorn.http.wsgi, "create"),
        (gunicorn.sock, "ssl_wrap_socket"),
        (Worker, "init_process"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))  # put back after the test
    monkeypatch.setattr(Worker, "_meshware", False, raising=False)
    before = Worker.init_process
    install()
    once = Worker.init_process
    install()
    assert Worker.init_process is once
    assert once is not before
