"""Rounds: from examples with and without labels to weights."""
