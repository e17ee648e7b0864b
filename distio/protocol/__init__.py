"""What is said: by a fiber to its runtime (requests) and between processes (messages)."""
