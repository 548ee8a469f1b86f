"""What addresses say."""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address


def is_address(host: str) -> bool:
    """Whether it is an IP address, and no name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    """Whether it is an address of the machine's own; False for names."""
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback
