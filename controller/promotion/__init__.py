"""An adapter with its evidence, brought to where others take it from."""
