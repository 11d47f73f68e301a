"""What happens inside a model when it unlearns: pure functions on arrays."""
