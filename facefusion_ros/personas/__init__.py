"""Personas: who is shown, and the swapper that puts them into a face's pose."""
