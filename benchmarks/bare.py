"""A bare Flask application that answers with given bytes: the floor that Keyturn is measured against."""

import json
import os
from pathlib import Path

from flask import Flask, Response

BODY = Path(os.environ["BARE_BODY"]).read_bytes()
HEADERS = json.loads(os.environ.get("BARE_HEADERS", "[]"))

app = Flask(__name__)


@app.route("/", methods=["GET", "POST"])
def answer() -> Response:
    return Response(BODY, mimetype="application/json", headers=HEADERS)
