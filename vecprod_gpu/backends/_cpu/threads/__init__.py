"""Threads that share the work of a call: a pool that sleeps, and teams of those that wait awake."""
