"""Which IP addresses of a subnet are free."""

import ipaddress
from collections.abc import Iterable, Sequence

from openstack_simulator.errors import BadRequest, Conflict

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
Pool = tuple[int, int]
"""First and last address as numbers, both usable."""


class AddressSpace:
    """Hands out the addresses of one subnet, the lowest free one of its pools first."""

    def __init__(self, network: IpNetwork, pools: Sequence[Pool]) -> None:
        self.network = network
        self.pools = sorted(pools)
        self._taken: set[int] = set()
        # Everything below in the pools is taken, so that a full subnet is not searched from its start each time.
        self._lowest_free = self.pools[0][0] if self.pools else 0

    def take_any(self, network_id: str) -> str:
        """Take the lowest free address.

        Raises:
            Conflict: None is left.
        """
        for first, last in self.pools:
            number = max(first, self._lowest_free)
            while number <= last:
                if number not in self._taken:
                    self._taken.add(number)
                    self._lowest_free = number + 1
                    return self._written(number)
                number += 1
        raise Conflict(f"No more IP addresses available on network {network_id}.", kind="IpAddressGenerationFailure")

    def take(self, address: str, subnet_id: str) -> str:
        """Take a certain address, inside the pools or not.

        Raises:
            BadRequest: It is none of the subnet's.
            Conflict: It is taken.
        """
        try:
            wanted = ipaddress.ip_address(address)
        except ValueError:
            raise BadRequest(f"'{address}' is not a valid IP address.", kind="HTTPBadRequest") from None
        if wanted not in self.network:
            raise BadRequest(
                f"IP address {address} is not a valid IP for the specified subnet.", kind="InvalidIpForSubnet"
            )
        if int(wanted) in self._taken:
            raise Conflict(
                f"IP address {address} already allocated in subnet {subnet_id}", kind="IpAddressAlreadyAllocated"
            )
        self._taken.add(int(wanted))
        return str(wanted)

    def contains(self, address: str) -> bool:
        """Whether an address is one of the subnet's, taken or not.

        Raises:
            ValueError: It is no IP address.
        """
        return ipaddress.ip_address(address) in self.network

    def give_back(self, address: str) -> None:
        """Free an address."""
        number = int(ipaddress.ip_address(address))
        self._taken.discard(number)
        self._lowest_free = min(self._lowest_free, number)

    @property
    def taken(self) -> int:
        """How many addresses are taken."""
        return len(self._taken)

    def _written(self, number: int) -> str:
        kind = ipaddress.IPv4Address if self.network.version == 4 else ipaddress.IPv6Address
        return str(kind(number))


def default_pools(network: IpNetwork, gateway: str | None) -> list[Pool]:
    """All host addresses but the gateway's, as Neutron divides a subnet that names no pools."""
    first, last = int(network.network_address), int(network.broadcast_address)
    if network.num_addresses > 2:
        first += 1
        last -= 1 if network.version == 4 else 0
    if gateway is None or not first <= (hop := int(ipaddress.ip_address(gateway))) <= last:
        return [(first, last)]
    return [(start, end) for start, end in ((first, hop - 1), (hop + 1, last)) if start <= end]


def read_pools(network: IpNetwork, pools: Iterable[dict[str, str]]) -> list[Pool]:
    """Pools as a client names them.

    Raises:
        BadRequest: One is outside the subnet or ends before it starts.
    """
    read = []
    for pool in pools:
        try:
            start, end = ipaddress.ip_address(pool["start"]), ipaddress.ip_address(pool["end"])
        except (KeyError, ValueError):
            raise BadRequest(f"Invalid input for allocation_pools: {pool}.", kind="HTTPBadRequest") from None
        if start not in network or end not in network or int(start) > int(end):
            raise BadRequest(
                f"The allocation pool {pool['start']}-{pool['end']} is not valid.", kind="InvalidAllocationPool"
            )
        read.append((int(start), int(end)))
    return read


def shown_pools(space: AddressSpace) -> list[dict[str, str]]:
    """Pools as a subnet's body shows them."""
    kind = ipaddress.IPv4Address if space.network.version == 4 else ipaddress.IPv6Address
    return [{"start": str(kind(first)), "end": str(kind(last))} for first, last in space.pools]
