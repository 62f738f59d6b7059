"""The control plane over a wire: `POST /control/<operation>` with a JSON body, on a listener and a token of its own.

It is never mounted under `/mcp`: what an agent can reach, and with what, opens nothing here.
"""

from __future__ import annotations

import json
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from palaestra.mcp_servers.errors import PalaestraError, ToolError, boundary
from palaestra.mcp_servers.framework.control import ControlPlane
from palaestra.mcp_servers.transports.gate import HEALTH, LOCAL_HOSTS, Gate, answer_health

CONTROLLER: Final = "controller"
_STATUS: Final = {
    "unknown_operation": 404,
    "unknown_episode": 404,
    "unknown_snapshot": 404,
    "expired_episode": 410,
    "quota": 409,
    "unavailable": 429,  # at capacity; the request was fine and may come again
    "control_failed": 500,
}


def build_control_app(plane: ControlPlane, token: str, hosts: tuple[str, ...] = LOCAL_HOSTS) -> ASGIApp:
    """The application, to be run on a loopback port or a Unix socket by the process whose episodes it controls.

    Raises: ConfigError "weak_token".
    """

    async def perform(request: Request) -> Response:
        body = await request.body()
        try:
            with boundary("control_failed", ToolError):
                return _json(200, plane.run(request.path_params["operation"], body))
        except PalaestraError as error:
            return _json(_STATUS.get(error.code, 400), {"error": error.to_dict()})

    routes = [Route(HEALTH, answer_health), Route("/control/{operation}", perform, methods=["POST"])]
    return Gate(Starlette(routes=routes), hosts=hosts, tokens={CONTROLLER: token})


def _json(status: int, data: dict[str, Any]) -> Response:
    # ASCII: text with lone surrogates is legal JSON, but not legal UTF-8.
    return Response(json.dumps(data), status, media_type="application/json")
