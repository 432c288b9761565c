"""Blending: masks, paste, colour match, light and motion."""
