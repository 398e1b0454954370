"""The user's settings: options, the options file, and how they combine."""
