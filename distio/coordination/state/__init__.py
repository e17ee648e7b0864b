"""What a member and the coordinator know; imported by all conversations, imports none of them."""
