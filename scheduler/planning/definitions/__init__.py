"""What is defined: a file's text, what it resolves to, task types and the parameters that they take."""
