"""The guest: a small Debian that does nothing but be measured."""
