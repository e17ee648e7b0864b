"""Effects: threads that step, sockets that carry, clocks that tick, processes that live and die."""
