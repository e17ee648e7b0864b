"""An executor: one thread of a member's pool, turn after turn."""
