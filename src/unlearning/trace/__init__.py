"""From a number back to what made it, and from one run to another."""
