#!/usr/bin/env python
"""Take a picture of a page of a running dashboard, with the Chromium of this machine.

    scripts/screenshot.py http://127.0.0.1:15000/ docs/dashboard.png --dark --width 390

The pictures of the README are of `meshware demo --keep`, a minute after it says that the shop stays
open, with the address that it names:

    scripts/screenshot.py --readme http://127.0.0.1:15000/ docs/images/

Needs the developers' tools (`make setup`) and Chromium (`apt-get install chromium`).
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Error, sync_playwright

ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


def main() -> int:
    """Carry out the command; gives its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", help="address of the page, with its #/view")
    parser.add_argument("file", type=Path, help="where the PNG goes; with --readme its directory")
    parser.add_argument("--readme", action="store_true", help="take the pictures of the README")
    parser.add_argument("--dark", action="store_true", help="in dark colours")
    parser.add_argument("--width", type=int, default=1360, help="pixels (default 1360)")
    parser.add_argument("--height", type=int, default=820, help="pixels (default 820)")
    parser.add_argument("--scale", type=float, default=1, help="pixels of the file for each pixel")
    parser.add_argument("--wait", type=float, default=2.5, help="seconds to let traffic show")
    given = parser.parse_args()
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    if browser_path is None:
        print("there is no Chromium here: install the package chromium", file=sys.stderr)
        return 2
    wanted = [(given.url, given.file, given.dark)]
    if given.readme:
        url = f"{given.url.rstrip('/')}/#/graph"
        wanted = [
            (url, given.file / f"dashboard-{name}.png", name == "dark")
            for name in ("light", "dark")
        ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=ARGUMENTS)
        for url, file, is_dark in wanted:
            page = browser.new_page(
                viewport={"width": given.width, "height": given.height},
                device_scale_factor=given.scale,
                color_scheme="dark" if is_dark else "light",
            )
            page.on("console", lambda message: print(message.text, file=sys.stderr))
            page.on("pageerror", lambda error: print(error, file=sys.stderr))
            try:
                page.goto(url, wait_until="domcontentloaded")
            except Error as error:
                print(f"{url} does not answer: {error.message}", file=sys.stderr)
                return 1
            page.wait_for_timeout(given.wait * 1000)
            file.parent.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=file)
            page.close()
            print(file)
        browser.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
