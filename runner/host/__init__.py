"""What the operating system provides: devices and memory, processes, signals, output streams."""
