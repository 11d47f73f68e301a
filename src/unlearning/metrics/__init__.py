"""What a model is measured by: pure functions on numbers and arrays."""
