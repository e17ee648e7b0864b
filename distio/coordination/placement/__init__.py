"""Placement: members offer fibers, the coordinator says which member hosts them."""
