"""Options of hypervisors, and what their drivers make of them."""

from __future__ import annotations

from typing import Any

import pytest
from hvcost.errors import ConfigError
from hvcost.hypervisors import load_driver


@pytest.mark.parametrize(
    ("hypervisor", "options", "complaint"),
    [
        ("qemu", {"nick": "virtio"}, "nick: unknown option; allowed: nic, machine_type, cpu_model"),
        ("qemu", {"nic": "ne2k"}, "nic: 'ne2k' is not allowed; allowed: virtio, e1000, rtl8139"),
        ("qemu", {"cpu_model": 5}, "cpu_model: 5 is not allowed; allowed: a text"),
        ("qemu", {"vhost": True}, "vhost: unknown option"),
        ("kvm", {"vhost": "yes"}, "vhost: 'yes' is not allowed; allowed: true or false"),
        ("kvm", {"vhost": True, "nic": "e1000"}, "vhost: .* allowed: false with nic e1000"),
        ("xen", {"type": "PV"}, "type: 'PV' is not allowed; allowed: pv, pvh, hvm"),
        ("virtualbox", {"nic": "e1000"}, "nic: 'e1000' is not allowed; allowed: virtio, 82540EM, Am79C973"),
        ("bare-metal", {"nic": "virtio"}, "nic: unknown option; allowed: none"),
        ("bare-metal-dom0", {"type": "pv"}, "type: unknown option; allowed: none"),
        ("nspawn", {"nic": "veth"}, "nic: unknown option; allowed: none"),
    ],
)
def test_a_wrong_option_is_named_with_what_is_allowed(
    hypervisor: str, options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        load_driver(hypervisor)(options)


def test_an_unknown_hypervisor_is_named_with_those_that_exist() -> None:
    with pytest.raises(
        ConfigError, match="'bochs' is not allowed; allowed: bare-metal, bare-metal-dom0, kvm, nspawn"
    ):
        load_driver("bochs")
