"""The `distio-worker` daemon: a process that hosts fibers for a cluster."""
