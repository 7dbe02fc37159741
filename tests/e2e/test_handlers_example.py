"""The example's rule by function, about the example's own app."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def check(*arguments: str) -> tuple[int, list[dict[str, object]]]:
    """Compare the example's reviews with the example's policy."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "meshware"), "check", str(EXAMPLES / "policies"),
         "--app", "app:app", "--workload", "reviews-v1", "--format", "json", *arguments],
        cwd=EXAMPLES / "fastapi_app",
        env={**os.environ, "SHOP_ROLE": "reviews-v1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )  # fmt: skip
    assert not done.stderr
    return done.returncode, json.loads(done.stdout)


def test_every_endpoint_of_the_example_is_covered_and_every_rule_is_for_one():
    """So that people copy what `check --app --strict` finds nothing about."""
    assert check("--strict") == (0, [])
