"""The packed engine: many adapters trained side by side on one frozen base, each as if it were alone."""
