"""Benchmarks of objects that die: `deathwatch bench`."""
