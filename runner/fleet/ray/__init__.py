"""Workers as Ray actors, one for each slot."""
