"""Docker behind a company's proxy, which it puts into every container (`proxies` in its config)."""

from __future__ import annotations

import json

from .clone import Clone
from .engine import docker

NOWHERE = "http://127.0.0.1:9"  # whatever goes there is refused
PROXIES = {"proxies": {"default": {"httpProxy": NOWHERE, "httpsProxy": NOWHERE}}}


def test_production_serves_although_docker_gives_its_containers_a_proxy(production: Clone) -> None:
    production.write("../docker-config/config.json", json.dumps(PROXIES))
    production.run("-0", "stop")
    docker("rm", *(container.id for container in production.containers("prod").values()))

    production.run("-0", DOCKER_CONFIG=str(production.root.parent / "docker-config"))

    proxy = production.containers("prod")["proxy"]
    assert proxy.environment["HTTPS_PROXY"] == NOWHERE, "the proxy is in the containers"
    assert proxy.state == "healthy"
    assert production.visitor("HTTP_PORT").is_up()
