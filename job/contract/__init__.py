"""What job and controller agree on: configurations, documents, errors. Standard library and pydantic only."""
