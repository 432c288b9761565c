"""Sensors: the I2C bus and the chips on it."""
