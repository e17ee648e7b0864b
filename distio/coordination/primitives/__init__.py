"""Queues, deferred values, topics, barriers, latches.

A primitive knows neither members nor messages. The coordinator keeps it, with items as bytes; a
member that is alone in its cluster keeps it itself, with the items as they are. The decisions are
the same.
"""
