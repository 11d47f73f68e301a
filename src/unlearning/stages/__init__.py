"""One module per verb of the DAG: reads files, calls the library, writes files."""
