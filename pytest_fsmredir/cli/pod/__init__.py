"""Judge one running pod that this program did not create."""
