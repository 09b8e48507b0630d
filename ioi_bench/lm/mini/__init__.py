"""ioi-mini: the embedded model, its training and its shipped weights."""
