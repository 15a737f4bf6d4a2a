"""One handler per operation, split by what it is about."""
