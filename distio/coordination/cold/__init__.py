"""Cold fibers: they sleep for long, as bytes at the coordinator, and are at no member."""
