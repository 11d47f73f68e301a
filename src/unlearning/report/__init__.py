"""What is read: the page, the paper's numbers, the drawing of the DAG."""
