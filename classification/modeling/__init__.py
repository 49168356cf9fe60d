"""Networks, preprocessing, inference: the only room of this package that may import torch."""
