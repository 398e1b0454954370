"""From rows to verdicts, and to what is shown and written."""
