"""The results as a page that one opens: `deathwatch report`."""
