"""How fast Tule is, measured from outside: one load generator, one table a module."""
