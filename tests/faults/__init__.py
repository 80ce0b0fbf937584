"""The fault suite: injects each fault for real and compares what is left with an undisturbed sweep. `make faults`."""
