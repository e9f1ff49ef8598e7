"""Speed of the hot path, beside other mailers, in one run. `python -m benchmarks --help`."""
