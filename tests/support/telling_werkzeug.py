"""werkzeug's development server with the app that tells: `telling_werkzeug PORT`."""

import sys

from telling import wsgi
from werkzeug.serving import run_simple

if __name__ == "__main__":
    run_simple("127.0.0.1", int(sys.argv[1]), wsgi, threaded=True)
