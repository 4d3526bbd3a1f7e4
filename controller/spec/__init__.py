"""The sweep's YAML file: read safely, checked whole, every mistake named with its place and remedy."""
