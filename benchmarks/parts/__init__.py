"""What is measured of the runner itself. Each module has `measure(quick)`, which returns numbers by name."""
