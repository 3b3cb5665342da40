"""Several workers and several hosts on one database: what one of them did, the others obey."""
