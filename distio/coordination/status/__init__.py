"""What a fiber is at: one fiber asks, the member that hosts the other one answers."""
