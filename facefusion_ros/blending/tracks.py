"""How many faces something is remembered of."""

MAX_TRACKS = 64
"""Beyond this number the oldest are forgotten: memory does not grow with the people who pass."""
