"""The report: a document, and its renderings. Imports no backend."""
