"""A client is told how many fibers its run has, while it shows that."""
