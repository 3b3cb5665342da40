"""Reproducible comparisons, each a command."""
