"""Where it is measured: hosts, links and emulated machines, from their preparation to their return."""
