"""Replace the addresses and names in the file of a captured pod, and keep their structure."""
