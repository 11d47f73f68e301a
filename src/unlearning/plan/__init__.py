"""What a run may ask: its cells, the check of a whole config, searches."""
