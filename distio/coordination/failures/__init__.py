"""Failures that nobody can ask for any more are reported."""
