"""Membership: handshakes before a process joins, how members leave, how processes exited."""
