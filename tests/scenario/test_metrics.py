"""What a running node tells Prometheus, and its log in JSON."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.faults.trial import arrived, mail, offer
from tests.scenario.cluster import Node, Pair, client, free_port, gateway, join, wait_for

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(120)]


def scraped(port: int) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Sample name to labels and values, as curl gets them and Prometheus' own parser reads them."""
    words = ["curl", "-sSf", "--max-time", "10", f"http://127.0.0.1:{port}/metrics"]
    text = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def watched(node: Node) -> int:
    port = free_port()
    node.config.write_text(
        node.config.read_text().replace("[node]\n", f'[node]\nmetrics = "127.0.0.1:{port}"\nlog = "json"\n', 1)
    )
    return port


def test_figures_follow_what_happens_and_name_nobody(tmp_path: Path) -> None:
    pair = Pair(gateway(tmp_path / "mx1"), client(tmp_path / "laptop"))
    port = watched(pair.gateway)
    try:
        join(pair)
        for number in range(3):
            assert offer(pair, mail(number)) == 250
        arrived(pair, 3)
        strange = Pair(pair.gateway, pair.client, address="nobody@example.net")
        assert offer(strange, mail(9)) == 550
        wait_for("a peer that has it all", lambda: scraped(port)["mesyx_peer_behind_entries"][0][1] == 0)
        found = scraped(port)
        counted = {labels["verdict"]: value for labels, value in found["mesyx_recipients_total"]}
        assert counted == {"accept": 3, "reject": 1}
        assert ({"instance": "ingress.mx"}, 1) in found["mesyx_instance_up"]
        assert found["mesyx_peer_connected"][0][1] == 1
        assert found["mesyx_store_entries"][0][1] >= 3
        assert found["mesyx_memory_bytes"][0][1] > 1 << 20
        assert "alice" not in str(found)
        assert "example" not in str(found)
        records = [json.loads(line) for line in pair.gateway.log.read_text().splitlines()]
        assert all(record.keys() == {"time", "level", "logger", "message"} for record in records)
        pair.gateway.stop()
    finally:
        pair.gateway.kill()
        pair.client.kill()


def test_a_port_in_use_is_refused_with_the_key(tmp_path: Path) -> None:
    node = gateway(tmp_path / "mx1")
    taken = node.ports["smtp"]
    node.config.write_text(node.config.read_text().replace("[node]\n", f'[node]\nmetrics = "127.0.0.1:{taken}"\n', 1))
    done = node.cli("run", check=False)
    assert done.returncode == 3
    assert "[node] metrics" in done.stderr
