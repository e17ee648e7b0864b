"""Runs that have a name, and outlive the client that has started them."""
