"""The on-disk formats, one module each: names, keys, columns, readers, writers, checks.

Nobody else opens, names or formats these files.
"""
