"""Blending: a persona's patches put onto the frame, in the scene's light, where the face now is."""
