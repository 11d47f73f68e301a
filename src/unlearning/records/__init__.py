"""What made a file: records, code hashes, and models read back from them."""
