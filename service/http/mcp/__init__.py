"""The Model Context Protocol over HTTP: its messages, its revisions, its transports."""
