"""The same conversations over HTTP, against a service in a process of its own, also when it is killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from palaestra.agents.policies.expert import ExpertPolicy
from palaestra.agents.rollout import collect
from palaestra.envs.core.text.protocol import TextProtocol
from palaestra.envs.core.types import StopReason, Task
from palaestra.envs.tools import remote
from palaestra.envs.tools.env import ToolEnv
from palaestra.envs.tools.evidence import evidence_of
from palaestra.mcp_servers.errors import ToolError
from palaestra.mcp_servers.transports.service import Service

CARDS = '<tool_call>{"name": "list_bank_cards", "arguments": {}}</tool_call>'
WRONG = '<tool_call>{"name": "freeze_card", "arguments": {"card_id": "crd_1"}}</tool_call>'


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    with Service(["banking", "vehicle"]) as started:
        monkeypatch.setenv(remote.CONTROL_TOKEN, started.control_token)
        yield started
        remote.doors(started.control_url).close()


def settings(door: str) -> dict[str, Any]:
    return {"tasks": "chains", "servers": ("banking",), "door": door}


def test_both_doors_show_and_prove_the_same_and_a_killed_service_is_no_zero(service: Service) -> None:
    near, far = ToolEnv(**settings("local")), ToolEnv(**settings(service.control_url))
    for index in (0, 4):
        shown = [env.reset(seed=0, options={"index": index}) for env in (near, far)]
        assert shown[0] == shown[1]
        for reply in [CARDS, WRONG, "<tool_call>?</tool_call>", *(near.plan() or [])]:
            left, right = near.step(reply), far.step(reply)
            assert left == right
        assert left[1] == 1.0
    far.reset(seed=0)
    far.step(CARDS)
    twin = ToolEnv(**settings(service.control_url))
    twin.restore(far.snapshot())
    assert [twin.step(reply) for reply in twin.plan() or []] == [far.step(reply) for reply in far.plan() or []]

    far.reset(seed=0)
    far.step(CARDS)
    os.kill(service.process.pid, signal.SIGKILL)
    service.process.wait(20)
    _, reward, terminated, truncated, info = far.step(CARDS)
    assert (terminated, truncated, info["stop"], info["lost"]) == (False, True, "tool_server_lost", "unavailable")
    assert (reward, info["won"]) == (0.0, False)
    with pytest.raises(ToolError):
        far.reset(seed=0)
    far.close()
    twin.close()


def test_a_rollout_over_a_lost_service_is_an_error_with_its_evidence(service: Service) -> None:
    class Killer(ExpertPolicy):
        def choose(self, request: Any) -> str:
            if request.turn == 1:
                os.kill(service.process.pid, signal.SIGKILL)
                service.process.wait(20)
            return super().choose(request)

    protocol = TextProtocol(style="chat")
    task = Task("palaestra/Tools-Banking-v0", 0, {"tasks": "chains", "door": service.control_url})
    (group,) = collect([task], Killer(0, protocol), protocol=protocol)
    (rollout,) = group.rollouts
    assert rollout.trajectory.stop_reason is StopReason.ENV_ERROR
    assert rollout.failure is not None
    assert (rollout.failure.type, rollout.failure.code) == ("ToolError", "unavailable")
    assert group.valid == ()
    _, steps = evidence_of(rollout.trajectory)
    assert [step.lost for step in steps] == [None, "unavailable"]
