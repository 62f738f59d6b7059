"""The settings of a tool environment: where its tasks come from, how calls are written, and its limits."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from palaestra.envs.core.config import Settings

Split = Literal["train", "valid", "test", "all"]


class ToolConfig(Settings):
    """Keyword arguments of `palaestra/Tools-v0` and its siblings.

    Attributes:
        tasks: path of a JSON Lines file of task records, plain or ending in .gz; "embedded" for the set that ships
            with the package; "chains" for the tool servers' own chains, one conversation each.
        split: that resets draw from.
        servers: keep only tasks about these servers; empty = all.
        mixed: keep only tasks about more than one server; of the embedded ones, which are about one each, these are
            pairs of chains of neighbouring servers.
        chains: of the tool servers' chains, only these: "banking.pay_the_rent_twice".
        worlds: in how many seeded worlds each chain is asked for; of every four, one validates and one tests.
        call_format: how calls are written: "hermes", "json", "pythonic", "compact", or one you registered.
        schemas: how the system message shows the tools: as JSON Schema; as one-line signatures; not at all, for
            agents whose own chat template shows `info["tools"]`.
        rules: whether the system message says how to behave: when a turn ends, when to ask, when to decline.
        max_turns: user messages of one conversation.
        max_replies: assistant replies of one conversation.
        max_calls: calls of one conversation.
        ids: "whole", as the tools have them; "short", numbered as the conversation first shows them (`acc_2` instead of
            `acc_28605`) and turned back in calls, for agents that cannot copy digits well.
        result_chars: a longer result is cut, visibly.
        door: "local" for servers in this process, or the URL of a control plane of `palaestra serve`; several with
            commas between them.
        user: who says what the user says: "scripted", the records' own words; or the path of a TOML file that names a
            language model, which says the same in its words (docs/synthesis.md).
        oracle_info: whether `info` tells how many replies are left.
    """

    tasks: str = "embedded"
    split: Split = "train"
    servers: tuple[str, ...] = ()
    mixed: bool = False
    chains: tuple[str, ...] = ()
    worlds: PositiveInt = 4
    call_format: str = "hermes"
    schemas: Literal["json", "signature", "none"] = "json"
    rules: bool = True
    max_turns: PositiveInt = 5
    max_replies: PositiveInt = 10
    max_calls: PositiveInt = 64
    ids: Literal["whole", "short"] = "whole"
    result_chars: int = Field(default=8000, ge=80)
    door: str = "local"
    user: str = "scripted"
    oracle_info: bool = False

    @model_validator(mode="after")
    def _one_call_at_least(self) -> ToolConfig:
        if self.max_calls > 500:
            raise ValueError(f"max_calls={self.max_calls}: a tool server takes at most 512 calls an episode")
        return self
