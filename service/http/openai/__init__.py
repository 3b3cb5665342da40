"""Runs in OpenAI's shapes: what its clients send to ``/responses``, ``/chat/completions`` and ``/models``."""
