"""Submissions as Kubernetes Jobs; docs/design.md has the shape. Modules that are called pure open no connection."""
