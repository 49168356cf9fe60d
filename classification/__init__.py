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

import os

# Libraries that would tell their makers how they are used: they read this when they are
# imported, and the processes that a command starts inherit it. onnxruntime 1.32 keeps
# events in the user's cache folder and sends them whatever its own function says later.
os.environ.update(
    {
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "YOLO_OFFLINE": "true",  # of ultralytics, which yolov5 imports, too
    }
)
