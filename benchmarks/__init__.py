"""How fast the runner is beside what a user would otherwise do: `make bench`. See docs/performance.md."""
