"""The local backend: trials as child processes over device slots."""
