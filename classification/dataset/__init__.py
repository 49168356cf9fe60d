"""Decisions about a training set: its rows, their splits, and how much each counts."""
