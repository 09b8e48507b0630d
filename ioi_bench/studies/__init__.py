"""Studies: questions about a model and its dictionaries that go beyond the card, one file or a few each."""
