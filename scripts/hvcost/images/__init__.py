"""The images of guest and emulated host, and how they are built."""
