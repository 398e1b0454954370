"""Answer questions about packet filter rules."""
