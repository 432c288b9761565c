"""Frames: pixel layouts and the shared-memory pool."""
