"""The web: the only package that knows Flask, werkzeug and marshmallow."""
