"""Model files as data: weights and networks are read, never run; torch is not imported."""
