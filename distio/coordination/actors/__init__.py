"""Objects that stay in one process: the member keeps them, and calls come to them."""
