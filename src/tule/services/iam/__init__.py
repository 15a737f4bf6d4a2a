"""Identities: users, roles, policies and access keys, stored and read."""
