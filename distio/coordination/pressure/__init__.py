"""Pressure: a member doesn't say much more than the coordinator hears."""
