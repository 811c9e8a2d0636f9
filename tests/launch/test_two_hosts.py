"""Two hosts with a cable between them: network namespaces with names, addresses and a stack of their own each.

Needs root and `ip`; slow, so behind `make test-faults`.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launch.cluster import Cluster, Make, assert_same

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
    pytest.mark.skipif(not shutil.which("ip"), reason="not installed: ip, of iproute2"),
]

# A name of its own, and the other's, as a machine has them in its /etc/hosts; nothing of this leaves the namespaces.
ENTER = 'hostname "$1" && mount --bind "$2" /etc/hosts && shift 2 && exec "$@"'


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Host:
    """One of two, which see nothing but each other."""

    def __init__(self, number: int, hosts: Path) -> None:
        self.name = f"node{number}"
        self.hosts = hosts
        self.space = f"n2n-{os.getpid()}-{number}"
        self.end = f"n2n{os.getpid() % 100_000}-{number}"  # of the cable; a name has at most 15 letters

    def wire(self) -> None:
        ip("link", "set", self.end, "netns", self.space)
        ip("-n", self.space, "address", "add", f"{address(self.name)}/24", "dev", self.end)
        for device in ("lo", self.end):
            ip("-n", self.space, "link", "set", device, "up")

    def within(self) -> list[str]:
        """What a command is put behind to run on this host."""
        enter = ["unshare", "--mount", "--uts", "bash", "-c", ENTER, "bash"]
        return ["ip", "netns", "exec", self.space, *enter, self.name, str(self.hosts)]

    def pull(self) -> None:
        ip("-n", self.space, "link", "set", self.end, "down")

    def plug(self) -> None:
        ip("-n", self.space, "link", "set", self.end, "up")


def address(name: str) -> str:
    return f"10.77.0.{int(name[-1]) + 1}"


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[list[Host]]:
    file = tmp_path / "hosts"
    names = ["127.0.0.1 localhost", *(f"{address(name)} {name}" for name in ("node0", "node1"))]
    file.write_text("\n".join(names) + "\n")
    both = [Host(number, file) for number in (0, 1)]
    made = []
    try:
        for host in both:
            ip("netns", "add", host.space)
            made.append(host)
        ip("link", "add", both[0].end, "type", "veth", "peer", "name", both[1].end)
        for host in both:
            host.wire()
        yield both
    finally:
        for host in made:  # the cable goes with them
            ip("netns", "delete", host.space)


def on_both(cluster: Make, hosts: list[Host]) -> Cluster:
    two = cluster("2", head="node0:29400")
    for host in hosts:
        two.start(within=host.within())
    return two


def test_a_host_is_lost_and_replaced(cluster: Make, hosts: list[Host], undisturbed: dict[int, float]) -> None:
    two = on_both(cluster, hosts)
    two.wait_for_images(240)
    two.nodes[1].kill()
    two.start(within=hosts[1].within())
    assert_same(two.finish(), undisturbed)
    assert two.worlds() == [2, 2]


def test_a_cable_out_for_a_moment_costs_nothing(
    cluster: Make, hosts: list[Host], undisturbed: dict[int, float]
) -> None:
    """Packets are lost, and sent again: shorter than the agents' patience, it is not even a restart."""
    two = on_both(cluster, hosts)
    two.wait_for_images(240)
    hosts[1].pull()
    before = two.images()
    time.sleep(2)
    assert two.images() <= before + 80, "they cannot go on apart"
    hosts[1].plug()
    assert_same(two.finish(), undisturbed)
    assert two.worlds() == [2]
