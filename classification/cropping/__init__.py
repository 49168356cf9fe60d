"""Pixels: opens images safely, and cuts boxes out of them."""
