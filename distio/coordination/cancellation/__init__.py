"""Cancellation: members tell their fibers, the coordinator finds those that are elsewhere."""
