"""What goes over the wire, as marshmallow schemas; no queries."""
