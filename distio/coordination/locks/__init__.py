"""Locks, semaphores, limits of starts and variables: the coordinator lends, members hand on."""
