"""Hosts and clients: their facts, and what is prepared on them."""
