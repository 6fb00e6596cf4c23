"""What repetitions say: pure functions from the tidy table to intervals, comparisons and verdicts.

docs/statistics.md explains each method, and prints what simulations found of its error rates.
"""
