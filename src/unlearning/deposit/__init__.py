"""A run as a deposit: a research object (RO-Crate) and a card for each original."""
