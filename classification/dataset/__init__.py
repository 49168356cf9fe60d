"""Pure decisions about a training set: its rows, and which split each location is in."""
