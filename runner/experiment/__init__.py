"""Reads a user's experiment as syntax, without importing it, and makes a module of functions."""
