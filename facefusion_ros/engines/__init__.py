"""Engines: what runs a network, and with which precision."""
