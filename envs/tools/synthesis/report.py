"""What is in a data set: counts, rates, coverage and yields, as JSON-ready data and as a card to read."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from palaestra.envs.tools.records import TaskRecord
from palaestra.envs.tools.synthesis.filters import FILTERS
from palaestra.envs.tools.synthesis.server_job import Block
from palaestra.mcp_servers.catalog import load_server


def report(
    records: Sequence[TaskRecord], blocks: Mapping[str, Block], settings: Mapping[str, Any], asked: int
) -> dict[str, Any]:
    """Everything about a data set that its records and its parts tell. Linear."""
    counts: Counter[str] = Counter()
    for block in blocks.values():
        counts.update(block.counts)
    calls = [call for record in records for _, call in record.gold_calls]
    return {
        "records": len(records),
        "asked": asked,
        "settings": dict(settings),
        "splits": dict(Counter(record.split for record in records)),
        "families": dict(Counter(str(record.meta["family"]) for record in records)),
        "kinds": dict(Counter(record.kind for record in records)),
        "rates": rates(records),
        "turns": _tally(len(record.turns) for record in records),
        "chain_lengths": _tally(len(record.meta["chain"]) for record in records if record.gold_calls),
        "gold_calls": {"total": len(calls), "per_record": round(len(calls) / max(1, len(records)), 2),
                       "reads": sum(call.reads for call in calls)},
        "edges": dict(Counter(kind for call in calls for kind in call.edge_kinds)),
        "sources": dict(Counter(source.partition(":")[0] for call in calls for source in call.source.values())),
        "coverage": coverage(records, settings["servers"]),
        "yields": yields(counts),
        "jaccard_max": max((float(record.checks.get("jaccard_max", 0.0)) for record in records), default=0.0),
    }  # fmt: skip


def rates(records: Sequence[TaskRecord]) -> dict[str, float]:
    """How often each knob was turned; information levels and irrelevant turns among the multi-turn family only."""
    multi = [record for record in records if record.meta["family"] == "multi"]
    levels = Counter(str(record.meta["info_level"]) for record in multi)
    some = max(1, len(multi))
    return {
        **{f"level_{level}": round(count / some, 4) for level, count in sorted(levels.items())},
        "irrelevant": round(sum("abstain" in record.meta["scenes"] for record in multi) / some, 4),
        "distractors": round(sum(bool(record.shown.distractors) for record in records) / max(1, len(records)), 4),
        "stripped_enums": round(sum(record.meta["stripped"] for record in records) / max(1, len(records)), 4),
        "failing": round(sum("detour" in record.meta for record in records) / max(1, len(records)), 4),
    }


def coverage(records: Sequence[TaskRecord], servers: Sequence[str]) -> dict[str, Any]:
    """Records per server and per tool; a tool counts where it is called or is what a hidden request is for."""
    tools: Counter[str] = Counter()
    by_server: Counter[str] = Counter()
    for record in records:
        by_server[record.env.servers[0]] += 1
        tools.update({call.tool for _, call in record.gold_calls} | set(record.shown.missing))
    known = [tool for name in servers for tool in load_server(name).tools]
    counts = {tool: tools[tool] for tool in known}
    rarest = sorted(counts, key=lambda tool: (counts[tool], tool))[:20]
    return {
        "servers": {name: by_server[name] for name in servers},
        "tools_known": len(known), "tools_used": sum(count > 0 for count in counts.values()),
        "tools_below_20": sum(count < 20 for count in counts.values()),
        "rarest": {tool: counts[tool] for tool in rarest},
        "records_per_tool_median": statistics.median(counts.values()) if counts else 0,
    }  # fmt: skip


def yields(counts: Mapping[str, int]) -> dict[str, Any]:
    """How many drafts each filter saw and dropped, in their order; and why drafts were given up before."""
    left = counts.get("drafted", 0)
    found: dict[str, Any] = {"tried": counts.get("tried", 0), "drafted": left, "filters": {}}
    found["given_up"] = {name.partition(".")[2]: n for name, n in sorted(counts.items()) if name.startswith("draft.")}
    for name in FILTERS:
        dropped = sum(n for key, n in counts.items() if key.startswith(f"filter.{name}"))
        found["filters"][name] = {
            "seen": left,
            "dropped": dropped,
            "yield": round(1 - dropped / left, 4) if left else 1.0,
        }
        left -= dropped
    return found


def card(found: Mapping[str, Any]) -> str:
    """The card of a data set, in Markdown."""
    settings, cover = found["settings"], found["coverage"]
    rows = [f"| {name} | {n} |" for name, n in sorted(cover["servers"].items())]
    passed = [
        f"| {name} | {f['seen']} | {f['dropped']} | {f['yield']:.2%} |"
        for name, f in found["yields"]["filters"].items()
    ]
    told = "\n".join(f"- {name.replace('_', ' ')}: {value}" for name, value in found["rates"].items())
    writer, origin, style = _written(found)
    return f"""# Tool-use tasks

{found["records"]:,} conversations over {len(settings["servers"])} simulated tool servers, written by the {writer}
{origin}

- splits: {_words(found["splits"])}; families: {_words(found["families"])}; kinds: {_words(found["kinds"])}
- turns: {_words(found["turns"])}; chain lengths: {_words(found["chain_lengths"])}
- gold calls: {found["gold_calls"]["total"]:,}, {found["gold_calls"]["per_record"]} per conversation; edges:
  {_words(found["edges"])}
{told}

No chain of tools and no entity that training conversations are about occurs in the tests. {style}
`{settings["catalog_digest"]}`, phrases digest `{settings["phrases_digest"]}`.

| filter | seen | dropped | passed |
|---|---:|---:|---:|
{chr(10).join(passed)}

Of {found["yields"]["tried"]:,} attempts, {found["yields"]["drafted"]:,} became drafts.

| server | conversations |
|---|---:|
{chr(10).join(rows)}

Tools used: {cover["tools_used"]} of {cover["tools_known"]}; fewest conversations of a tool:
{min(cover["rarest"].values(), default=0)}.
"""


def _written(found: Mapping[str, Any]) -> tuple[str, str, str]:
    """Who wrote the conversations, what of, and in what style."""
    settings = found["settings"]
    made = f"with seed {settings['seed']} in worlds of profile `{settings['profile']}`."
    if "teacher" not in found:
        return (
            "scripted",
            f"teacher {made} No model, no network and no data of\npeople: every name, amount and message was made up "
            "by the seeds of the servers. Licence: Apache-2.0, as the package.",
            "Requests are plainer than\nthose a model or a person would write. Made again, byte for byte, by the same "
            "command; catalogue digest",
        )
    model = settings["teacher"]
    return (
        f"model `{model['model']}`",
        f"at temperature {model['temperature']}, prompts `{model['prompt_digest']}`, {made} It was asked\n"
        f"{found['teacher']['requests']:,} times. Names and amounts were made up by the seeds of the servers; the "
        "choice of calls and\nthe words are the model's, and its terms hold for them.",
        "Made again, byte for byte,\nby the same command with the kept answers; catalogue digest",
    )


def _tally(values: Any) -> dict[str, int]:
    return {str(value): count for value, count in sorted(Counter(values).items())}


def _words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
