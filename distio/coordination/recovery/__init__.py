"""Recovery: what is kept of fibers, so that they go on elsewhere when their worker is lost."""
