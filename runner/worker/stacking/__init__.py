"""Several models of one architecture as one program: their variables are stacked along a new first axis."""
