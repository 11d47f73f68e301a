"""The files of rows that a run ends in: made from records, and read back."""
