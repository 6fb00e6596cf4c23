"""The instrument's calibration: what all tools say of links whose rate, delay and loss are known."""
