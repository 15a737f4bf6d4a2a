"""Function instances: runner process, pools, zygotes and sandboxes."""
