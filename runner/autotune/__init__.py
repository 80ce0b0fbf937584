"""What `auto` means on this machine, measured once and kept: how to compile, how long a turn is, memory."""
