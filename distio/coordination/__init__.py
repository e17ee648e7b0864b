"""The pure machines of all fibers: those of the coordinator and of its members.

Time comes in as an argument, effects go out as values; the same machines run inside one
process, in a cluster, and in simulation.
"""
