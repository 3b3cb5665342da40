"""One file per thing outside Keyturn; each implements a port of ``service.domain.ports``."""
