"""`palaestra serve`: the tool servers, for any client of the Model Context Protocol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from palaestra.cli.output import JsonOption, SeedOption, emit, show_table
from palaestra.mcp_servers.errors import ConfigError

if TYPE_CHECKING:
    from palaestra.mcp_servers.transports.serving import Serving

_HTTP, _EPISODES, _CONTROL = "HTTP", "Episodes", "Control plane"


def serve(
    transport: Annotated[str, typer.Option(help="http, or stdio for a client that starts this command.")] = "http",
    servers: Annotated[str, typer.Option(metavar="A,B", help="Which tool servers; all by default.")] = "",
    seed: SeedOption = 0,
    profile: Annotated[str, typer.Option(help="How large a world: small, default or large.")] = "default",
    host: Annotated[str, typer.Option(help="Address to listen on.", rich_help_panel=_HTTP)] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 = any free one.", rich_help_panel=_HTTP)] = 8420,
    token_file: Annotated[
        list[Path] | None,
        typer.Option(help="File with one bearer token; its name is the principal's.", rich_help_panel=_HTTP),
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(help="Another name clients use, e.g. a compose service's.", rich_help_panel=_HTTP),
    ] = None,
    workers: Annotated[int, typer.Option(hidden=True)] = 1,
    default_episode: Annotated[
        bool | None,
        typer.Option(
            "--default-episode/--no-default-episode",
            help="One episode for all clients that name none.",
            show_default="on for stdio, and on loopback without a control plane",
            rich_help_panel=_EPISODES,
        ),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(help="Keep the default episode in this file between runs.", rich_help_panel=_EPISODES),
    ] = None,
    legacy_sessions: Annotated[
        bool | None,
        typer.Option(
            "--legacy-sessions/--no-legacy-sessions",
            help="An episode for each 2025-11-25 session over HTTP.",
            show_default="on without a default episode",
            rich_help_panel=_EPISODES,
        ),
    ] = None,
    signed_urls: Annotated[
        bool, typer.Option("--signed-urls", help="Accept signed URL parameters.", rich_help_panel=_EPISODES)
    ] = False,
    control_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Its port.", rich_help_panel=_CONTROL)
    ] = None,
    control_host: Annotated[str, typer.Option(help="Its address.", rich_help_panel=_CONTROL)] = "127.0.0.1",
    control_socket: Annotated[
        Path | None, typer.Option(help="Its Unix socket, instead of a port.", rich_help_panel=_CONTROL)
    ] = None,
    control_token_file: Annotated[
        Path | None, typer.Option(help="File with its bearer token.", rich_help_panel=_CONTROL)
    ] = None,
    with_parent: Annotated[
        bool, typer.Option("--with-parent", help="End with the process that started this; stdio always does (Linux).")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Log warnings only.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="Name the tool servers and leave.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Serve the tool servers to any MCP client.

    Examples:
        palaestra serve
        palaestra serve --transport stdio --servers banking,calendar
        palaestra serve --list
    """
    if list_:
        _list(as_json)
        return
    if workers != 1:
        raise ConfigError("workers", f"--workers {workers}: state lives in one process; run several services instead")
    if control_token_file is not None and control_port is None and control_socket is None:
        raise ConfigError("control_token", "--control-token-file needs --control-port or --control-socket")
    _run(
        as_json, transport=transport, servers=_names(servers), seed=seed, profile=profile, host=host, port=port,
        tokens=dict(_principal_and_token(path) for path in token_file or ()),
        allowed_hosts=tuple(allowed_host or ()), default_episode=default_episode, state=state,
        legacy_sessions=legacy_sessions, signed_urls=signed_urls, control_port=control_port, control_host=control_host,
        control_socket=control_socket, log_calls=not quiet, with_parent=with_parent,
        control_token="" if control_token_file is None else _token(control_token_file),
    )  # fmt: skip


def _run(as_json: bool, **options: Any) -> None:
    from palaestra.mcp_servers.transports.serve_settings import ServeSettings
    from palaestra.mcp_servers.transports.serving import run

    try:
        settings = ServeSettings(**options)
    except ValidationError as error:
        wrong = [f"--{found['loc'][0]}: {found['msg']}" for found in error.errors(include_input=False)]
        raise ConfigError("option", "; ".join(wrong).replace("_", "-")) from None
    # Over stdio, standard output is the wire.
    stdio = settings.transport == "stdio"
    run(settings, lambda serving: None if stdio and not settings.log_calls else _announce(serving, as_json, err=stdio))


def _announce(serving: Serving, as_json: bool, *, err: bool) -> None:
    settings = serving.settings
    if as_json:
        import json

        data = {
            "url": serving.url,
            "control": serving.control,
            "servers": list(serving.servers),
            "tools": serving.tools,
        }
        typer.echo(json.dumps({**data, "default_episode": settings.default_episode}), err=err)
        return
    shown = ", ".join(serving.servers) if len(serving.servers) <= 6 else f"{len(serving.servers)} tool servers"
    lines = [f"Palaestra serves {shown}: {serving.tools} tools, seed {settings.seed}, profile {settings.profile}."]
    if serving.url:
        lines.append(f"  endpoint  {serving.url}  (one server alone: {serving.url}/{serving.servers[0]})")
        who = f"bearer token of {', '.join(settings.tokens)}" if settings.tokens else "this machine, no token"
        lines.append(f"  access    {who}")
    lines += [f"  episode   {_episodes(serving)}"]
    if serving.control:
        lines.append(f"  control   {serving.control}")
    if serving.url and not settings.tokens:
        lines.append(f"Connect:    claude mcp add --transport http palaestra {serving.url}")
    lines.append("Ctrl-C ends it. Clients and their settings: docs/tool_servers.md")
    typer.echo("\n".join(lines), err=err)


def _episodes(serving: Serving) -> str:
    settings = serving.settings
    if settings.default_episode:
        kept = f"kept in {settings.state}" if settings.state else "forgotten at the end (--state FILE keeps it)"
        return f"one, shared by all clients that name none; {kept}"
    if settings.legacy_sessions:
        return "one for each session of a 2025-11-25 client; others name one of the control plane's"
    return "named by the client; the control plane opens them"


def _list(as_json: bool) -> None:
    from palaestra.mcp_servers.catalog import CATALOG, load_server

    if not as_json:
        rows = [(name, entry.category, entry.tools, entry.verbs) for name, entry in CATALOG.items()]
        rows.append(("all", "", sum(row[2] for row in rows), sum(row[3] for row in rows)))
        show_table("tool servers", ("server", "category", "tools", "verbs"), rows, left=2)
        return
    emit(
        {
            "servers": [
                {
                    "name": name, "description": load_server(name).description, "category": entry.category,
                    "tools": [
                        {"name": tool.name, "effect": tool.effect.value, "kind": tool.kind}
                        for tool in load_server(name).tools.values()
                    ],
                }
                for name, entry in CATALOG.items()
            ]
        }
    )  # fmt: skip


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _principal_and_token(path: Path) -> tuple[str, str]:
    return path.stem, _token(path)


def _token(path: Path) -> str:
    """The one token in a file. Raises: ConfigError "token_file"."""
    try:
        token = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        make = f"python -c 'import secrets; print(secrets.token_urlsafe())' > {path}"
        raise ConfigError("token_file", f"cannot read a token from {path}: {error}; make one: {make}") from error
    if not token or len(token.split()) != 1:
        raise ConfigError("token_file", f"{path} must hold one token on one line")
    return token
