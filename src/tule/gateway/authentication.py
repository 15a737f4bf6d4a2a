"""Whose signature it is, and whether it is right."""
