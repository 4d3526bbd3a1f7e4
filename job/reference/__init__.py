"""The reference engine: one adapter trained by transformers' Trainer."""
