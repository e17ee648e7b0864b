"""Who is a member: handshakes before one joins, and how processes exited."""
