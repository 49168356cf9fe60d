"""Detectors and boxes: finds animals in images, knows nothing of species.

``boxes`` and ``records`` are values without files; ``detectors/`` holds one module per
engine; ``models`` is the table of known models; the files with a ``__main__`` guard are
the commands.
"""
