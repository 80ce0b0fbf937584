"""The use cases: run a sweep, resume one, plan one, examine the machine."""
