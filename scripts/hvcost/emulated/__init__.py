"""Emulated machines: virtual PCs with a hypervisor's processor features, played by this computer."""
