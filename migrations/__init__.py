"""Schema migrations. Run them with ``keyturn db upgrade``, or let the server do it at start."""
