"""`tule dev`: deploy, watch the files, put changed code into the functions that run it, tail their logs."""
