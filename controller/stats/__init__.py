"""What the scores show and how sure that is. Pure: arrays in, values out."""
