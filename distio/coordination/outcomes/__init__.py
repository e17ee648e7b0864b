"""Outcomes: fibers wait for each other, and outcomes travel to members that wait."""
