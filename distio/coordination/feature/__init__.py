"""Features: a conversation between members and the coordinator, with a half on either side."""
