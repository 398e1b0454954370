"""What is judged: the built-in reference, init commands, rules templates, plug-ins."""
