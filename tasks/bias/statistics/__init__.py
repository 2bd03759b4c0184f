"""Uncertainty: intervals, tests, resampling, what chance alone would do, and what an audit could have seen."""
