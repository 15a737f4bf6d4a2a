"""Function instances: runner process, pools, zygotes, sandboxes, bootstraps, and the worker for strangers' data."""
