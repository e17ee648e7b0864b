"""What one thread of a member's pool does, turn after turn."""
