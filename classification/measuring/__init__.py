"""How good a classifier is, as numbers: pure functions of what it said and what is true.

Numpy alone, so that training, evaluation and the pages measure in the same way.
"""
