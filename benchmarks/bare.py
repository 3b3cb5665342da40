"""A bare Flask application that answers with given bytes: the floor that Keyturn is measured against."""

import os
from pathlib import Path

from flask import Flask, Response

BODY = Path(os.environ["BARE_BODY"]).read_bytes()

app = Flask(__name__)


@app.route("/", methods=["GET", "POST"])
def answer() -> Response:
    return Response(BODY, mimetype="application/json")
