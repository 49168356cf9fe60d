"""Detector engines: one module per model format, behind one protocol."""
