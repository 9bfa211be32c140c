"""Measures what the gate judges: `deathwatch gate`."""
