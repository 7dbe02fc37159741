"""Fuzz each target of `tests/support/fuzz_targets.py` for a time, each in a process of its own.

Atheris (libFuzzer) follows the coverage of meshware's code from the seeds in `tests/fuzz/seeds`.
What it learns is kept in `.fuzz/<target>/corpus`, so that a later run goes on from there. Input
that breaks a law is written to `.fuzz/<target>/crash-...`: add it to the seeds, and mend the code.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / ".fuzz"
MOST_BYTES = 4096
SLOW_S = 5  # one input that takes longer is a finding, too
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]


def fuzz(name: str, seconds: int) -> int:
    """Fuzz one target in a child process; return its exit code."""
    from fuzz_seeds import seeds_of

    place = WORK / name
    corpus, seeds = place / "corpus", place / "seeds"
    for directory in (corpus, seeds):
        directory.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds_of(name)):
        (seeds / f"{number:03}").write_bytes(seed)
    print(f"{name}: {seconds} s", flush=True)
    with (place / "log").open("w", encoding="utf-8") as log:
        done = subprocess.run(
            [
                sys.executable, __file__, "--one", name, f"-max_total_time={seconds}",
                f"-artifact_prefix={place}/", f"-max_len={MOST_BYTES}", f"-timeout={SLOW_S}",
                "-print_final_stats=1", str(corpus), str(seeds),
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )  # fmt: skip
    lines = (place / "log").read_text(encoding="utf-8", errors="replace").splitlines()
    wanted = ("stat::number_of_executed_units", "stat::new_units_added", "stat::peak_rss_mb")
    found = [line.partition("stat::")[2] for line in lines if line.startswith(wanted)]
    print("  " + "; ".join(" ".join(line.split()) for line in found), flush=True)
    if done.returncode:
        print("\n".join(lines[-60:]))
        print(f"{name}: a law is broken; the input is in {place}", flush=True)
    return done.returncode


def child(name: str, arguments: list[str]) -> None:
    """Fuzz one target in this process; it ends with the process."""
    import atheris

    with atheris.instrument_imports(include=["meshware"]):
        from fuzz_targets import TARGETS
    atheris.Setup([sys.argv[0], *arguments], TARGETS[name])
    atheris.Fuzz()


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", help="which; all when left out")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parsed = parser.parse_args()
    from fuzz_targets import TARGETS

    unknown = set(parsed.targets) - set(TARGETS)
    if unknown:
        parser.error(f"there is no target {sorted(unknown)}; there are {', '.join(TARGETS)}")
    codes = [fuzz(name, parsed.seconds) for name in parsed.targets or TARGETS]
    return int(any(codes))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        child(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(main())
