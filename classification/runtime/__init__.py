"""The shell every command shares: errors, command line, threads, journal, progress.

Knows nothing of images, labels or models.
"""
