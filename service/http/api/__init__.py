"""Thin views: schema in, one domain call, schema out."""
