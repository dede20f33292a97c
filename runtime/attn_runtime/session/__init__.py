"""Open a graph on the best backend of this machine, and run it."""
