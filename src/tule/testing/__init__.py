"""Fixtures, the pytest plugin and the simulator. Never imported by the product."""
