"""From raw files to measurements, statistics and verdicts: pure functions of what was recorded.

docs/statistics.md explains each method, and prints what simulations found of its error rates.
"""
