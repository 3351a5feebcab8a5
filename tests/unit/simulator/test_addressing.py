import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openstack_simulator.errors import BadRequest, Conflict
from openstack_simulator.network.addressing import AddressSpace, default_pools, read_pools, shown_pools

SMALL = ipaddress.ip_network("10.0.0.0/29")


def space(network=SMALL, gateway: str | None = "10.0.0.1") -> AddressSpace:
    return AddressSpace(network, default_pools(network, gateway))


def test_the_gateway_and_the_two_ends_of_a_subnet_are_never_handed_out():
    one = space()
    assert [one.take_any("n") for _ in range(5)] == [f"10.0.0.{number}" for number in range(2, 7)]
    with pytest.raises(Conflict) as error:
        one.take_any("n")
    assert error.value.kind == "IpAddressGenerationFailure"


def test_a_gateway_in_the_middle_splits_the_pool():
    assert shown_pools(space(gateway="10.0.0.3")) == [
        {"start": "10.0.0.1", "end": "10.0.0.2"},
        {"start": "10.0.0.4", "end": "10.0.0.6"},
    ]


def test_an_address_that_is_taken_or_foreign_cannot_be_had():
    one = space()
    assert one.take("10.0.0.4", "s") == "10.0.0.4"
    with pytest.raises(Conflict):
        one.take("10.0.0.4", "s")
    with pytest.raises(BadRequest):
        one.take("10.0.1.4", "s")
    with pytest.raises(BadRequest):
        one.take("no address", "s")


def test_the_gateway_can_be_had_by_name():
    assert space().take("10.0.0.1", "s") == "10.0.0.1"


def test_pools_outside_the_subnet_or_the_wrong_way_round_are_refused():
    for start, end in (("10.0.1.2", "10.0.1.4"), ("10.0.0.4", "10.0.0.2")):
        with pytest.raises(BadRequest):
            read_pools(SMALL, [{"start": start, "end": end}])


@given(st.lists(st.one_of(st.none(), st.integers(min_value=0, max_value=20)), max_size=60))
def test_no_address_is_ever_held_twice_and_none_is_lost(moves):
    """``None`` takes an address, a number gives one of the held ones back."""
    one = space(ipaddress.ip_network("10.0.0.0/28"))
    held: list[str] = []
    for move in moves:
        if move is not None:
            if held:
                one.give_back(held.pop(move % len(held)))
        elif len(held) == 13:
            with pytest.raises(Conflict):
                one.take_any("n")
        else:
            held.append(one.take_any("n"))
        assert len(set(held)) == len(held) == one.taken


def test_an_ipv6_subnet_hands_out_addresses_too():
    network = ipaddress.ip_network("fd00::/64")
    assert space(network, "fd00::1").take_any("n") == "fd00::2"
