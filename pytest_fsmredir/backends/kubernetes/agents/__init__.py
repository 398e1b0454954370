"""The probe agents in pods, and the way to them."""
