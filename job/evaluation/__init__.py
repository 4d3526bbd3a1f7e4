"""What a model writes and what it loses: generation, completion loss, per-example scores."""
