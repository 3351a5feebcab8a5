"""A small OpenStack over HTTP, for trying things out and for tests.

Keystone, Glance, Nova, Cinder, Neutron and a little of Placement, with versions, quotas, errors and lifecycles like the
real ones, on a clock that a test can move, and with faults on request. Nothing runs and nothing is stored: a server is
an entry in a table. It imports neither Django nor an OpenStack library.
"""

from openstack_simulator.client import ControlError, SimulatorClient
from openstack_simulator.clock import Clock
from openstack_simulator.cloud import Cloud
from openstack_simulator.faults import Fault
from openstack_simulator.lifecycle import Pace
from openstack_simulator.server import Simulator

__all__ = ["Clock", "Cloud", "ControlError", "Fault", "Pace", "Simulator", "SimulatorClient"]
