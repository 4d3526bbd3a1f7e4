"""What leaves the process: files, model card, event files, manifest, result."""
