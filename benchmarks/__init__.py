"""Performance measurements. They assert nothing, because machines differ and are shared."""
