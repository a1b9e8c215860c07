"""Everything that happens to a machine, by hand and long, while sessions send all that they can."""
