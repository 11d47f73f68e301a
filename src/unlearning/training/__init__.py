"""Training of models: one loop, its optimisers, what it starts from and resumes."""
