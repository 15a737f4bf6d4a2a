"""Application Auto Scaling, for provisioned concurrency of functions."""
