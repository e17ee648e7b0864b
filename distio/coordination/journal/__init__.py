"""The journal: what the coordinator was told, so that another process can become the same."""
