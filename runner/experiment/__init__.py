"""Reads a user's experiment as syntax, without importing it."""
