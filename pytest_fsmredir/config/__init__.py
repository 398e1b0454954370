"""What the user asked for: options, the options file, and the settings they make."""
