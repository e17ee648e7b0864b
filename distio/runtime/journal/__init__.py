"""The coordinator's journal on a disk."""
