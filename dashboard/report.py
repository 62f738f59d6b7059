"""The report of a run: one HTML file that needs nothing else, and asks for nothing else.

The page's policy (`Content-Security-Policy`) forbids every request, and every style and script but the two whose
hashes it names; all text of the run is escaped, so nothing an agent or an environment wrote can act.
"""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from palaestra.agents.durable import disk_errors, replace_atomically
from palaestra.dashboard import plots
from palaestra.dashboard.episodes import Episodes, read_episodes
from palaestra.dashboard.history import History, finite, read_history, section
from palaestra.dashboard.plots import Signal
from palaestra.dashboard.replay import clip, inert_json, printable
from palaestra.dashboard.results import Result, read_result
from palaestra.mcp_servers.errors import StoreError
from palaestra.trainers.run_directory import RunFiles

WARMUP_SIGNALS: Final = (
    Signal(("loss",), "Loss", "nats per token"),
    Signal(("accuracy",), "Accuracy", "share of tokens", share=True),
)
RL_SIGNALS: Final = (
    Signal(("success",), "Training success", "share of episodes", share=True),
    Signal(("reward_mean",), "Reward", "mean per episode"),
    Signal(("length_mean",), "Episode length", "steps"),
    Signal(("entropy", "rollout_entropy"), "Entropy", "nats per token"),
    Signal(("kl_old", "approx_kl"), "KL to the old policy", "nats per token"),
    Signal(("clip_fraction", "clip_frac"), "Clip fraction", "share of tokens", share=True),
    Signal(("zero_signal",), "Groups without signal", "share of groups", share=True),
    Signal(("grad_norm",), "Gradient norm", "L2, before clipping"),
    Signal(("malformed",), "Malformed responses", "share of responses", share=True),
)
_TIME_NAMES: Final = {"rollout": "RL: rollouts", "old_pass": "RL: old pass", "update": "RL: updates"}
_PHASE_NAMES: Final = {"warmup": "Warm-up", "rl": "RL: other", "eval": "Evaluation"}
_CONFIG_CHARACTERS: Final = 60_000


def write_report(run_directory: Path) -> Path:
    """Write `report.html` into a run's folder, replacing an older one whole, and return its path.

    Works at any time: without a summary (still running, interrupted), without RL, without episodes. Needs no lock.

    Raises: StoreError "no_run", "corrupt_run", "disk_full", "io_error".
    Cost: linear in the lines of `metrics.jsonl`; of the store, a bounded sample (see `episodes.py`). The file stays
        below 1.5 MB.
    """
    run = RunFiles(run_directory)
    page = render(run)
    with disk_errors(StoreError, f"writing {run.report_path}", "The older report, if any, is as it was."):
        replace_atomically(run.report_path, page.encode())
    return run.report_path


def render(run: RunFiles) -> str:
    """The page as text."""
    config, summary, history = run.config(), run.summary(), read_history(run.metrics())
    episodes = read_episodes(run.store_address, run.name)
    result = read_result(summary, history)
    style, script = _asset("report.css"), _asset("report.js")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": percent, "duration": duration, "signed": signed}
    page = environment.from_string(_asset("report.html.jinja")).render(
        name=clip(run.name, 200),
        style=Markup(style),  # noqa: S704 - shipped with the package
        script=Markup(script),  # noqa: S704 - shipped with the package
        style_hash=_hash(style),
        script_hash=_hash(script),
        status=_status(summary, history),
        facts=_facts(config, summary, history, episodes),
        result=result,
        plots=_plots(history, result, finite((summary or {}).get("best_step"))),
        signals=_signals(history.rl, RL_SIGNALS, "RL iteration"),
        warmup=_signals(history.warmup, WARMUP_SIGNALS, "warm-up step"),
        time=_time(summary, history),
        episodes=episodes,
        episode_json=Markup(inert_json(list(episodes.entries))),  # noqa: S704 - made inert
        config=clip(run.config_path.read_text(encoding="utf-8"), _CONFIG_CHARACTERS),
        tables=_tables(summary),
        command=_command(config, summary),
    )
    return printable(page)  # JSON can hold lone surrogates, a file cannot


def percent(value: float, digits: int = 0) -> str:
    """A share as text: 0.123 is "12 %"."""
    return f"{100 * value:.{digits}f} %"


def signed(value: float, digits: int = 0) -> str:
    """A difference of shares in percentage points, with its sign."""
    return f"{100 * value:+.{digits}f}".replace("-", "\u2212")


def duration(seconds: float) -> str:
    """Seconds as text in the unit a person would use.

    >>> duration(8.25), duration(95), duration(7300)
    ('8.2 s', '1 min 35 s', '2 h 2 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{round(seconds) // 60} min {round(seconds) % 60} s"
    return f"{round(seconds / 60) // 60} h {round(seconds / 60) % 60} min"


def _asset(name: str) -> str:
    return (files("palaestra.dashboard") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """The name of an inline style or script in a content security policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _status(summary: Mapping[str, Any] | None, history: History) -> tuple[str, str]:
    """A word and a sentence on how far the run got."""
    if summary is None:
        return "unfinished", f"No summary yet: still running, or interrupted after RL iteration {history.rl_steps}."
    stopped = clip(str(summary.get("stopped", "finished")), 60)
    steps = int(finite(summary.get("steps")) or history.rl_steps)
    return stopped, f"{stopped.capitalize()} {f'after {steps} RL iterations' if steps else 'without RL'}."


def _facts(
    config: Mapping[str, Any], summary: Mapping[str, Any] | None, history: History, episodes: Episodes
) -> list[tuple[str, str]]:
    summary = summary or {}
    found = [
        ("environment", summary.get("env_id") or section(config, "env").get("id")),
        ("recipe", summary.get("recipe")),
        ("RL iterations", summary.get("steps") or history.rl_steps or None),
        ("best iteration", summary.get("best_step")),
        ("sampled tokens", f"{history.tokens:,}" if history.tokens else None),
        ("started", episodes.started[:16].replace("T", " ") + " UTC" if episodes.started else None),
    ]
    return [(name, clip(str(value), 120)) for name, value in found if value is not None]


def _plots(history: History, result: Result, kept: float | None) -> dict[str, Markup | None]:
    modes = history.modes()
    moments = {point.step for points in modes.values() for point in points}
    drawn: dict[str, Markup | None] = dict.fromkeys(("learning", "result", "strata"))
    if len(moments) > 1:
        wide, narrow = plots.learning_curve(modes, kept, 880, "wide"), plots.learning_curve(modes, kept, 400, "narrow")
        drawn["learning"] = wide + narrow
    if result.pair is not None:
        drawn["result"] = plots.dumbbells(result.modes)
    if result.strata:
        drawn["strata"] = plots.strata(result.strata, by_length=result.by_length)
    return drawn


def _signals(curves: Mapping[str, Any], signals: Sequence[Signal], step_name: str) -> list[tuple[str, str, Markup]]:
    """Title, last value and plot of every signal that was logged."""
    found = []
    for signal in signals:
        curve = next((curves[key] for key in signal.keys if key in curves), None)
        if curve is not None:
            last = _last(curve.values[-1], signal)
            found.append((signal.title, last, plots.small(curve, signal, step_name)))
    return found


def _last(value: float, signal: Signal) -> str:
    return percent(value, 1) if signal.share else f"{value:.3g}"


def _time(summary: Mapping[str, Any] | None, history: History) -> dict[str, Any] | None:
    """Where the wall time went: rows (name, paint, seconds, share), the bar, and CPU seconds if known.

    The metrics tell evaluation during RL from RL; the summary's phases stand in where nothing was logged.
    """
    phases = section(summary, "phases")
    logged = {name: seconds for name, seconds in history.phase_s.items() if seconds}
    wall = logged or {str(name): finite(section(phases, name).get("wall_s")) or 0.0 for name in phases}
    cpu_s = history.cpu_s or sum(finite(section(phases, name).get("cpu_s")) or 0.0 for name in phases)
    inside = sum(history.rl_s.values())
    parts: list[tuple[str, float]] = []
    for name, seconds in sorted(wall.items(), key=lambda item: item[0] == "eval"):  # RL whole, evaluation after it
        if name == "rl" and inside:
            parts += [(_TIME_NAMES.get(part, f"RL: {part}"), value) for part, value in history.rl_s.items()]
            seconds = max(0.0, seconds - inside)
        parts.append((_PHASE_NAMES.get(name, name.replace("_", " ").capitalize()), seconds))
    parts = [(clip(name, 40), seconds) for name, seconds in parts if seconds > 0]
    total = sum(seconds for _, seconds in parts)
    if not total:
        return None
    paints = [plots.TIME_PAINT[index % len(plots.TIME_PAINT)] for index in range(len(parts))]
    rows = [(name, paint, seconds, seconds / total) for (name, seconds), paint in zip(parts, paints, strict=True)]
    bar = plots.time_bar(parts, 880, "wide") + plots.time_bar(parts, 400, "narrow")
    return {"rows": rows, "bar": bar, "total": total, "cpu": cpu_s}


def _tables(summary: Mapping[str, Any] | None) -> list[tuple[str, list[tuple[str, str]]]]:
    versions = {"palaestra": (summary or {}).get("palaestra", "unknown"), **section(summary, "versions")}
    summary = {**summary, "versions": versions} if summary else None
    titles = (
        ("Versions", "versions"),
        ("Seeds", "seeds"),
        ("Machine", "machine"),
        ("Reward components", "reward_components"),
    )
    return [(title, rows) for title, key in titles if (rows := _flat(section(summary, key)))]


def _flat(data: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as (dotted name, value) rows."""
    rows: list[tuple[str, str]] = []
    for key, value in data.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            rows += _flat(value, f"{name}.")
        else:
            rows.append((clip(name, 120), f"{value:.4g}" if isinstance(value, float) else clip(str(value), 300)))
    return rows


def _command(config: Mapping[str, Any], summary: Mapping[str, Any] | None) -> str:
    recipe = (summary or {}).get("recipe") or config.get("recipe")
    return f"palaestra train {shlex.quote(clip(str(recipe), 300))}" if recipe else "palaestra train config.toml"
