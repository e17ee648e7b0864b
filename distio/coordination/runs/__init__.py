"""Runs: how many of their fibers are alive where, and what of them is lost with a member."""
