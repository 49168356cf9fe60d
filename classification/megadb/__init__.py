"""What an image's metadata is: readers of each standard, the store, its queries."""
