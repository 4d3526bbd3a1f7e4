"""What can be told from a text itself, beside its ROUGE: pure functions of strings, none of which asks a model."""
