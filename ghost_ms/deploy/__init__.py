"""From a trained network to a file that runs elsewhere."""
