"""What every other layer stands on: clocks, randomness, names, contexts, tasks, limits, fault points and ports."""
