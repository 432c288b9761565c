"""Faces: detection, landmarks, alignment, tracking."""
