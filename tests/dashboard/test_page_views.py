"""The page's views of workers, policy, calls and traces, in Chromium, over a world made up."""

from __future__ import annotations

import re
import time

import dashboard_made
from playwright.sync_api import expect

from meshware.dashboard.live import to_mend


def test_a_worker_that_is_out_of_step_stands_out_and_comes_first(page, visit, complaints):
    visit(dashboard_made.shop(), "workers")
    first = page.locator("tbody tr").first
    expect(first).to_contain_text("2 behind")
    expect(first).to_contain_text("event loop lags")
    expect(page.locator("tr.behind")).to_have_count(3)
    assert complaints == []


def test_a_worker_tells_of_its_process_certificate_lag_and_memory(page, visit, complaints):
    visit(dashboard_made.shop(), "workers")
    row = page.locator('tr[data-worker="productpage-v1-4101"]')
    for text in (
        "pid 4101", "gunicorn/23.0.0", "0.1.0", "Python 3.13.1", "current",
        "applied 2 min ago", "in 40 min", "embedded", "1.2 ms", "event loop", "49.6 MiB",
        "shop · 127.0.0.1:9080",
    ):  # fmt: skip
        expect(row).to_contain_text(text)
    bare = page.locator('tr[data-worker="reviews-v1-4203"]')
    expect(bare.locator("td")).to_have_text(
        ["reviews-v1shop", "●current", "pid 4203reviews-v1-4203", "–", "7", "none", "–", "–", "–",
         "1 h 30 min ago"]
    )  # fmt: skip
    refused = page.locator('tr[data-worker="details-v1-4304"]')
    refused.locator("summary").click()
    expect(refused).to_contain_text("no such subset: v9")
    assert complaints == []


def test_what_a_worker_claims_is_text(page, visit, complaints):
    world = dashboard_made.shop()
    markup = "<img src=x onerror=alert(1)>"
    world.workers["workers"] = [
        world.workers["workers"][0]
        | dict.fromkeys(("version", "python", "server", "address", "state", "lag_of"), markup)
        | {"troubles": [markup], "refusals": [{"reason": markup}]}
    ]
    visit(world, "workers")
    expect(page.locator("tbody tr")).to_contain_text(markup)
    expect(page.locator("tbody img")).to_have_count(0)
    assert complaints == []


def test_beside_policy_stands_how_much_there_is_to_mend(page, visit):
    """Findings and refusals, not edits; whoever hears the page hears what is counted."""
    world = dashboard_made.shop()
    visit(world)
    badge = page.locator('nav a[data-view="policy"] .badge')
    count = to_mend(world.policy)
    assert count >= 1
    expect(badge).to_have_text(f"{count} findings and refusals of policy")
    page.get_by_role("link", name="Policy").click()
    expect(badge).to_be_visible()  # looking does not mend it
    world.publish()
    expect(badge).to_be_hidden()


def test_a_broken_policy_shows_its_finding_and_a_good_one_moves_the_generation(page, visit):
    world = dashboard_made.shop()
    visit(world, "policy")
    expect(page.locator("[data-code=unreachable-rule]")).to_contain_text("no call comes here")
    problem = {
        "severity": "error", "code": "weights", "kind": "VirtualService", "namespace": "shop",
        "name": "reviews", "field": "spec.http[0]", "file": "reviews.yaml", "line": 20,
        "message": "weights add up to 90; make them 100",
    }  # fmt: skip
    world.publish(
        refused={
            "since": dashboard_made.iso(time.time()),
            "reason": "1 error",
            "problems": [problem],
        }
    )
    expect(page.locator(".alert")).to_contain_text("weights add up to 90")
    world.publish()
    expect(page.locator(".alert")).to_have_count(0)
    expect(page.locator('[data-generation="8"]')).to_contain_text("VirtualService/shop/reviews")
    expect(page.locator("#generation")).to_have_text("generation 8")


def test_a_refused_call_shows_why(page, visit, complaints):
    world = dashboard_made.shop()
    visit(world, "calls")
    expect(page.locator(".calls details")).to_have_count(3)
    world.calls.insert(0, dashboard_made.refusal(time.time(), path="/ratings/9"))
    world.tell("call", {"count": 1, "newest": world.calls[0]})
    newest = page.locator(".calls details").first
    expect(newest).to_contain_text("/ratings/9")
    newest.locator("summary").click()
    expect(newest.locator(".why")).to_contain_text("no ALLOW policy has a rule that takes it")
    expect(newest.locator(".why")).to_contain_text("Policy has changed since")
    expect(newest.locator(".why")).to_contain_text("security.yaml:14")
    assert complaints == []


def test_markup_in_what_callers_send_stays_text(page, visit):
    visit(dashboard_made.shop(), "calls")
    expect(page.locator(".calls")).to_contain_text("/charge/<b>bold</b>")
    expect(page.locator(".calls summary b")).to_have_count(0)


def test_a_trace_is_a_waterfall_in_the_order_of_the_tree(page, visit, complaints):
    visit(dashboard_made.shop(), "traces")
    rows = page.locator(".waterfall .row")
    expect(rows).to_have_count(9)
    expect(rows.nth(4)).to_have_attribute("aria-label", re.compile("attempt 1.*failed"))
    rows.nth(4).click()
    expect(page.locator(".waterfall dl:visible")).to_contain_text("meshware.generation")
    assert complaints == []


def test_calls_are_narrowed_by_what_happened_and_by_words(page, visit):
    visit(dashboard_made.shop(), "calls")
    rows = page.locator(".calls details:visible")
    expect(rows).to_have_count(3)
    page.get_by_label("What happened").select_option("failed")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("payments")
    page.get_by_label("What happened").select_option("")
    page.get_by_label("Find calls").fill("jwt_is_expired")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("41 more before it")
    expect(page.locator(".count")).to_have_text("1 of 3")


def test_a_failed_call_has_its_attempts(page, visit):
    visit(dashboard_made.shop(), "calls")
    failed = page.locator(".calls details").nth(1)
    failed.locator("summary").first.click()
    expect(failed.locator(".tries tbody tr")).to_have_count(2)
    failed.get_by_role("link", name=re.compile("^7d1f")).click()
    expect(page.locator(".waterfall h2")).to_contain_text("7d1f0c8a")


def test_a_trace_is_a_table_for_those_who_do_not_look_at_bars(page, visit, complaints):
    visit(dashboard_made.shop(), "traces")
    page.get_by_role("button", name="Table").click()
    rows = page.locator(".waterfall .spans tbody tr")
    expect(rows).to_have_count(9)
    expect(page.get_by_role("button", name="Table")).to_be_focused()
    expect(rows.nth(4).locator("td").nth(2)).to_have_text("1")
    expect(rows.nth(5).locator("td").nth(2)).to_have_text("2")
    assert complaints == []


def test_arrow_keys_walk_through_a_waterfall_and_the_list_of_traces(page, visit):
    visit(dashboard_made.shop(), "traces")
    rows = page.locator(".waterfall .row")
    rows.first.focus()
    page.keyboard.press("ArrowDown")
    expect(rows.nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(rows.nth(1)).to_have_attribute("aria-expanded", "true")
    buttons = page.locator(".trace-list button")
    buttons.first.focus()
    page.keyboard.press("ArrowDown")
    expect(buttons.nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(rows).to_have_count(2)
