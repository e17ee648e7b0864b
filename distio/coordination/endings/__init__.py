"""How runs end before all their fibers have, and how members leave."""
