"""Pure decisions about labels: which targets a classifier category belongs to."""
