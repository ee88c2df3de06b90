"""Data: the built-in benchmarks, rooms and digits."""
