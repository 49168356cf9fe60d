"""From labelled camera-trap images to a species classifier, and back to new images.

A file at the top of this package is a command, a folder is a room. How to find the
room of a line:

====================================================  =================================
the line …                                            room
====================================================  =================================
parses flags, wires files to functions                the command of that name
knows a file's name, a key, a column, a crop's name   ``artifacts/``
knows what an image's metadata is, and queries it     ``megadb/``
decides which labels, which targets                   ``labels/``
decides which rows, which splits                      ``dataset/``
says how good a classifier is, as numbers             ``measuring/``
reads a model file without running it                  ``model_files/``
touches pixels                                        ``cropping/``
box arithmetic                                        ``detection/boxes.py``
mentions torch                                        ``modeling/`` or a detector engine
fetches bytes                                         ``storage/``
divides a step, joins its parts, knows a cluster      ``sharding/``
makes a page                                          ``reports/``
says what an exit code, a thread pool, a journal is   ``runtime/``
says what a detection is / what a taxon is            ``detection/`` / ``taxonomy/``
====================================================  =================================
"""
