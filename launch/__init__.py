"""Processes, time and disk: the only place that knows ranks."""
