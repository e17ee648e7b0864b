"""The status of fibers: one fiber asks, the member that hosts the other one answers."""
