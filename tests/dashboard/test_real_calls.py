"""Refused calls and traces on the page, in Chromium: from real apps through a real daemon."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect
from ringed_world import DOORS, DOORS_PLACE, ringed


@pytest.fixture
def mesh(tmp_path, page):
    """Two apps and a daemon."""
    with ringed(tmp_path) as made:
        yield made
        page.close()  # its event stream holds the daemon otherwise


def test_a_refused_call_appears_by_itself_with_rule_and_line(page, mesh, complaints):
    """And with what policy says of it, also when that is another by now."""
    page.goto(f"{mesh.address}/#/calls", wait_until="domcontentloaded")
    expect(page.locator("#live")).to_have_text("live")
    mesh.orders.get("/closed?card=4111-secret")
    row = page.locator(".calls details", has_text="/closed").first
    expect(row).to_contain_text("403")
    expect(row).to_contain_text("default/doors rule 0")
    row.locator("summary").first.focus()
    page.keyboard.press("Enter")
    decided = row.get_by_label("What was decided")
    expect(decided).to_contain_text("default/doors")
    expect(decided).to_contain_text(DOORS_PLACE)
    expect(decided).to_contain_text("rbac_access_denied_matched_policy")
    now = row.get_by_label("What policy says now")
    expect(now).to_contain_text("still in force")
    expect(now).to_contain_text("refuses such a call in the same way")
    expect(now.get_by_label("Answer of meshware explain")).to_contain_text("deny, status 403")
    expect(page.locator("body")).not_to_contain_text("4111-secret")

    # Policy changes, and what stands open says so.
    mesh.edit("doors.yaml", DOORS.replace("/closed", "/other"))
    expect(now).to_contain_text("Policy has changed since")
    expect(now).to_contain_text("would let such a call in")
    row.get_by_role("link", name=re.compile("^[0-9a-f]{32}$")).click()
    expect(page.locator(".waterfall .row")).to_have_attribute(
        "aria-label", re.compile("orders: GET /closed, server, .*answer 403")
    )
    assert complaints == []


def test_a_call_elsewhere_is_counted_beside_the_name_of_the_view(page, mesh):
    page.goto(f"{mesh.address}/#/policy", wait_until="domcontentloaded")
    expect(page.locator("#live")).to_have_text("live")
    for _ in range(3):
        mesh.orders.get("/closed")
    badge = page.locator('nav a[data-view="calls"] .badge')
    expect(badge).to_have_text(re.compile("[1-3]"))
    page.get_by_role("link", name="Calls").click()
    expect(badge).to_be_hidden()


def test_a_retried_call_is_a_waterfall_over_two_services(page, mesh, complaints):
    assert mesh.web.get("/buy").status == 200
    page.goto(f"{mesh.address}/#/traces", wait_until="domcontentloaded")
    entry = page.locator(".trace-list button", has_text="web: GET /buy")
    expect(entry).to_contain_text("6 spans")
    expect(entry).to_contain_text("error")
    entry.click()
    rows = page.locator(".waterfall .row")
    expect(rows).to_have_count(6)
    told = [row.get_attribute("aria-label") for row in rows.all()]
    for at, words in enumerate((
        "web: GET /buy, server",
        "web: GET orders.default, client",
        "web: attempt 1 at 127.0.0.1:",
        "orders: GET /flaky, server",
        "web: attempt 2 at 127.0.0.1:",
        "orders: GET /flaky, server",
    )):  # fmt: skip
        assert told[at].startswith(words), told
    assert [row.get_attribute("data-depth") for row in rows.all()] == list("012323")
    assert [label.endswith("failed") for label in told] == [False, False, True, True, False, False]
    assert "answer 503" in told[2]
    assert "answer 200" in told[4]

    page.get_by_role("button", name="Table").click()
    cells = page.locator(".waterfall .spans tbody tr")
    expect(cells).to_have_count(6)
    expect(cells.nth(2)).to_contain_text("503")
    expect(cells.nth(3)).to_contain_text("default/orders")
    assert complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_of_it_is_cut_on_a_phone(page, mesh, scheme):
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme=scheme)
    mesh.web.get("/buy")
    mesh.orders.get("/closed")
    page.goto(f"{mesh.address}/#/calls", wait_until="domcontentloaded")
    row = page.locator(".calls details", has_text="/closed").first
    row.locator("summary").first.click()
    expect(row.get_by_label("Answer of meshware explain")).to_be_visible()
    width = "document.getElementById('main').scrollWidth"
    assert page.evaluate(width) <= 390
    page.goto(f"{mesh.address}/#/traces", wait_until="domcontentloaded")
    page.locator(".trace-list button", has_text="6 spans").click()
    page.locator(".waterfall .row").nth(2).click()
    expect(page.locator(".waterfall dl:visible")).to_contain_text("meshware.attempt")
    assert page.evaluate(width) <= 390
    assert page.evaluate("document.querySelector('.waterfall').scrollWidth") <= 390
