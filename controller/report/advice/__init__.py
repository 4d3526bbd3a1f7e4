"""What to do next: four rules over the numbers of a report, and the spec that follows from them."""
