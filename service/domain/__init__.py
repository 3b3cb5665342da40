"""Use cases in plain Python: they take a Session and ports, never a request, and never commit."""
