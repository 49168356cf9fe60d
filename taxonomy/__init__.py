"""Names of animals: taxa and their tree. Knows nothing of images."""
