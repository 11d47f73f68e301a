"""The jobs of a run: what each reads and writes, what it costs, what is adopted."""
