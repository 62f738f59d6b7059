"""Other libraries' names for our settings: verl 0.10 (`clip_ratio_low`, ...) and TRL 1.16 (`loss_type`, ...)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from palaestra.mcp_servers.errors import ConfigError, nearest


def _renamed(key: str) -> Callable[[Any], dict[str, Any]]:
    return lambda value: {key: value}


def _chosen(name: str, choices: Mapping[Any, dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    def choose(value: Any) -> dict[str, Any]:
        if value not in choices:
            raise ConfigError("bad_alias", f"{name}={value!r}; {nearest(str(value), map(str, choices))}")
        return choices[value]

    return choose


_TRL_LOSS_TYPES: dict[Any, dict[str, Any]] = {
    "dapo": {"loss_agg_mode": "token-mean"},
    "grpo": {"loss_agg_mode": "seq-mean-token-mean"},
    "dr_grpo": {"loss_agg_mode": "seq-mean-token-sum-norm"},
    "cispo": {"loss_mode": "cispo", "loss_agg_mode": "token-mean"},
    "sapo": {"loss_mode": "sapo", "loss_agg_mode": "seq-mean-token-mean"},
}

_OBJECTIVE: dict[str, Callable[[Any], dict[str, Any]]] = {
    "clip_ratio": lambda value: {"epsilon": value, "epsilon_high": value},
    "clip_ratio_low": _renamed("epsilon"),
    "clip_ratio_high": _renamed("epsilon_high"),
    "clip_ratio_c": _renamed("dual_clip_c"),
    "delta": _renamed("ratio_cap"),
    "entropy_coeff": _renamed("entropy_coef"),
    "kl_loss_coef": _renamed("beta"),
    "kl_loss_type": _chosen(
        "kl_loss_type",
        {
            "kl": {"kl_estimator": "k1"},
            "mse": {"kl_estimator": "k2"},
            "low_var_kl": {"kl_estimator": "k3"},
            **{name: {"kl_estimator": name} for name in ("k1", "k2", "k3", "k1+", "k3+")},
        },
    ),
    "norm_adv_by_std_in_grpo": _chosen(
        "norm_adv_by_std_in_grpo", {True: {"scale_rewards": "group"}, False: {"scale_rewards": "none"}}
    ),
    "importance_sampling_level": _chosen("importance_sampling_level", {"token": {}, "sequence": {"loss_mode": "gspo"}}),
    "loss_type": _chosen("loss_type", _TRL_LOSS_TYPES),
}

_ALIASES: dict[str, dict[str, Callable[[Any], dict[str, Any]]]] = {"ObjectiveConfig": _OBJECTIVE}


def resolve_aliases(section: str, data: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The data under our names, and one note per alias met.

    Raises: ConfigError "contradiction" if two names give one key different values; "bad_alias".

    >>> resolve_aliases("ObjectiveConfig", {"clip_ratio_low": 0.1})
    ({'epsilon': 0.1}, ["'clip_ratio_low' read as epsilon=0.1"])
    """
    aliases = _ALIASES.get(section, {})
    resolved = {key: value for key, value in data.items() if key not in aliases}
    source = {key: key for key in resolved}
    notes = []
    for alias, value in data.items():
        if alias not in aliases:
            continue
        for key, meant in aliases[alias](value).items():
            if key in resolved and resolved[key] != meant:
                raise ConfigError(
                    "contradiction",
                    f"{alias}={value!r} means {key}={meant!r}, but {source[key]!r} says {resolved[key]!r}; keep one",
                )
            resolved[key], source[key] = meant, alias
            notes.append(f"{alias!r} read as {key}={meant!r}")
    if data.get("importance_sampling_level") == "token" and resolved.get("loss_mode") == "gspo":
        raise ConfigError("contradiction", "importance_sampling_level='token' contradicts loss_mode='gspo'; keep one")
    return resolved, notes
