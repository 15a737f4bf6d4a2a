"""What runs in processes of its own: zygotes, instances, workers. Nothing here is imported by Tule's own process.

All but `worker_process` must run on every Python that functions may ask for (3.10 on), with its standard library alone.
"""
