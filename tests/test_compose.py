"""docker-compose.yml and the images it builds: every rule of docs/deployment.md, service by service."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped]

from tests.requirements.ledger import requirement
from tests.test_layers import LAYERS, ROOT

COMPOSE: Final[dict[str, Any]] = yaml.safe_load(
    (ROOT / "docker-compose.yml").read_text("utf-8").replace("${COMPOSE_PROJECT_NAME}", "palaestra")
)
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
STAYING: Final = ("tools", "store")
REPLICAS: Final = 4
SECRETS: Final = "docker/secrets"


def dockerfile(service: str) -> dict[str, list[str]]:
    """Every instruction of a service's Dockerfile, with what was said to it."""
    text = (ROOT / SERVICES[service]["build"]["dockerfile"]).read_text("utf-8")
    found: dict[str, list[str]] = {}
    for line in re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)).splitlines():
        word, _, rest = line.partition(" ")
        found.setdefault(word, []).append(rest.strip())
    return found


# -- rules ---------------------------------------------------------------------------------------------------------


def violations(name: str, service: dict[str, Any]) -> list[str]:
    """The rules of docs/deployment.md that a service breaks."""
    tmpfs = [str(mount).partition(":")[0] for mount in service.get("tmpfs", ())]
    log = service.get("logging", {}).get("options", {})
    networks = service.get("networks", [])
    image = str(service.get("image", ""))
    rules = {
        "a user that is not root": re.fullmatch(r"[1-9]\d*:[1-9]\d*", str(service.get("user", ""))),
        "a read-only root": service.get("read_only") is True,
        "/tmp in memory": "/tmp" in tmpfs,
        "no capabilities": service.get("cap_drop") == ["ALL"] and "cap_add" not in service,
        "no new privileges": service.get("security_opt") == ["no-new-privileges:true"],
        "limits": all(service.get(limit) for limit in ("mem_limit", "pids_limit", "cpus")),
        "bounded logs": {"max-size", "max-file"} <= log.keys(),
        "restart and health": _recovers(name, service),
        "replicas can have names of their own": not {"container_name", "hostname"} & service.keys(),
        "nothing of the host": not {"privileged", "network_mode", "pid", "ipc", "devices", "env_file"} & service.keys(),
        "volumes, no folders of the host": all(re.match(r"[a-z]+:/", mount) for mount in service.get("volumes", ())),
        "ports on loopback": all(str(port).startswith("127.0.0.1:") for port in service.get("ports", ())),
        "no secret in an environment or a command": not _told_secrets(service),
        "secrets that are declared": set(service.get("secrets", ())) <= COMPOSE["secrets"].keys(),
        "declared networks": networks and set(networks) <= COMPOSE["networks"].keys(),
        "`front` for the tools alone": "front" not in networks or name == "tools",
        "a built or pinned image": "build" in service or re.search(r":\d+\.\d+[\w.-]*$", image),
    }
    return [rule for rule, kept in rules.items() if not kept]


def _recovers(name: str, service: dict[str, Any]) -> bool:
    health = service.get("healthcheck", {})
    if name in STAYING:
        bounded = {"test", "interval", "timeout", "start_period", "retries"} <= health.keys()
        return bool(service.get("restart") == "unless-stopped" and bounded)
    return bool(service.get("restart") == "no" and health == {"disable": True})


def _told_secrets(service: dict[str, Any]) -> list[str]:
    variables = [name for name in service.get("environment", {}) if re.search("PASSWORD|TOKEN|SECRET|KEY", name)]
    words = [word for word in service.get("command", ()) if re.search(r"password=|://[^/@]+:[^/@]+@", word)]
    return [*(name for name in variables if not name.endswith("_FILE")), *words]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_keeps_every_rule(name: str) -> None:
    assert violations(name, SERVICES[name]) == []


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("tools", {"user": "0:0"}), ("tools", {"user": "root"}), ("tools", {"read_only": False}),
        ("tools", {"tmpfs": ["/run"]}), ("tools", {"cap_drop": ["NET_RAW"]}), ("tools", {"cap_add": ["SYS_ADMIN"]}),
        ("tools", {"security_opt": []}), ("tools", {"pids_limit": 0}), ("tools", {"logging": {}}),
        ("tools", {"healthcheck": {"disable": True}}), ("migrate", {"restart": "always"}),
        ("tools", {"container_name": "tools"}), ("tools", {"privileged": True}),
        ("store", {"volumes": ["/data:/data"]}),
        ("tools", {"ports": ["8421:8421"]}), ("store", {"environment": {"POSTGRES_PASSWORD": "x"}}),
        ("migrate", {"command": ["db", "upgrade", "postgresql://me:secret@store/db"]}),
        ("tools", {"secrets": ["other"]}), ("tools", {"networks": []}), ("store", {"networks": ["front"]}),
        ("store", {"image": "postgres:latest"}), ("store", {"image": "postgres"}),
    ],
)  # fmt: skip
def test_a_broken_rule_is_found(name: str, change: dict[str, Any]) -> None:
    assert len(violations(name, {**deepcopy(SERVICES[name]), **change})) == 1


def test_the_profiles_start_what_the_page_says() -> None:
    started = {
        profile: [name for name, service in SERVICES.items() if {*service.get("profiles", [profile])} & {profile}]
        for profile in ("", "store", "train")
    }
    everything = ["tools", "store", "migrate", "trainer"]
    assert started == {"": ["tools"], "store": everything[:3], "train": everything}


def test_the_control_plane_is_on_an_internal_network_only() -> None:
    assert {name for name, network in COMPOSE["networks"].items() if network.get("internal")} == {"control", "store"}
    (published,) = SERVICES["tools"]["ports"]
    first, last, inside = map(int, re.findall(r":(\d+)-(\d+):(\d+)$", published)[0])
    assert (inside, last - first + 1) == (8420, REPLICAS)
    assert all("ports" not in service for name, service in SERVICES.items() if name != "tools")


@requirement("R5")
def test_the_allowed_hosts_are_the_service_and_its_replicas() -> None:
    allowed = [word.partition("=")[2] for word in SERVICES["tools"]["command"] if word.startswith("--allowed-host=")]
    assert allowed == ["tools", *(f"palaestra-tools-{number}" for number in range(1, REPLICAS + 1))]


def test_the_image_does_by_itself_what_the_service_does() -> None:
    tools, built = SERVICES["tools"], dockerfile("tools")
    assert json.loads(built["CMD"][-1]) == tools["command"]
    options, _, test = built["HEALTHCHECK"][-1].partition("CMD ")
    assert ["CMD", *json.loads(test)] == tools["healthcheck"]["test"]
    for option in ("interval", "timeout", "retries"):
        assert f"--{option}={tools['healthcheck'][option]} " in options


@pytest.mark.parametrize("service", ["tools", "trainer"])
def test_images_are_pinned_and_run_as_the_service_does(service: str) -> None:
    built = dockerfile(service)
    assert len(built["FROM"]) == 2
    assert all(re.match(r"python:3\.11\.\d+-slim-\w+( AS build)?$", base) for base in built["FROM"])
    assert (built["USER"], built["ENTRYPOINT"]) == ([SERVICES[service]["user"]], ['["palaestra"]'])
    (extras,) = re.findall(r"\[([a-z,]+)\]\"", " ".join(built["RUN"]))
    assert extras == {"tools": "postgres", "trainer": "train,postgres"}[service]


def test_an_image_gets_the_package_and_nothing_else() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    assert let_in == {"pyproject.toml", "README.md", "LICENSE", "NOTICE", "src", *LAYERS}


def test_secrets_are_ignored_by_git() -> None:
    paths = [secret["file"] for secret in COMPOSE["secrets"].values()]
    assert {str(Path(path).parent) for path in paths} == {SECRETS}
    rules = [line for line in (ROOT / SECRETS / ".gitignore").read_text().splitlines() if not line.startswith("#")]
    assert rules == ["*", "!.gitignore"]
