"""Displays: where frames go."""
