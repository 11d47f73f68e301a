"""Tables: frames at full precision, their layouts, Markdown, LaTeX and HTML."""
