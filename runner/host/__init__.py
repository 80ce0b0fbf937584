"""Asks this machine: its devices and memory, its processes, the signals it sends."""
