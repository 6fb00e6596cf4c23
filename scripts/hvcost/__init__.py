"""hvcost: how much network performance does each hypervisor cost?"""
