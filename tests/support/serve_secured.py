"""Run a server's own command behind `install()` of its module: `serve_secured.py NAMES COMMAND`."""

from __future__ import annotations

import importlib
import os
import runpy
import sys

if __name__ == "__main__":
    os.environ["SERVE_SECURED"] = sys.argv[1]
for name in os.environ["SERVE_SECURED"].split(","):  # in spawned workers too
    importlib.import_module(f"meshware.servers.{name}").install()
if __name__ == "__main__":
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__")
