"""What `job.source` is made of: places, listings of files, digests, and the rules for model and data files."""
