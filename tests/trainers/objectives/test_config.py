import logging
from typing import Any

import pytest
from pydantic import ValidationError

from palaestra.mcp_servers.errors import ConfigError
from palaestra.trainers.objectives.config import ObjectiveConfig


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"clip_ratio": 0.1}, {"epsilon": 0.1, "epsilon_high": 0.1}),
        ({"clip_ratio_low": 0.1, "clip_ratio_high": 0.3}, {"epsilon": 0.1, "epsilon_high": 0.3}),
        ({"clip_ratio_c": 5.0}, {"dual_clip_c": 5.0}),
        ({"delta": 1.5}, {"ratio_cap": 1.5}),
        ({"entropy_coeff": 0.01}, {"entropy_coef": 0.01}),
        ({"kl_loss_coef": 0.01, "kl_loss_type": "low_var_kl"}, {"beta": 0.01, "kl_estimator": "k3"}),
        ({"kl_loss_type": "k1+"}, {"kl_estimator": "k1+"}),
        ({"norm_adv_by_std_in_grpo": False}, {"scale_rewards": "none"}),
        ({"importance_sampling_level": "sequence"}, {"loss_mode": "gspo"}),
        ({"importance_sampling_level": "token"}, {"loss_mode": "vanilla"}),
        ({"loss_type": "dapo"}, {"loss_agg_mode": "token-mean"}),
        ({"loss_type": "grpo"}, {"loss_agg_mode": "seq-mean-token-mean"}),
        ({"loss_type": "dr_grpo", "horizon": 8}, {"loss_agg_mode": "seq-mean-token-sum-norm"}),
        ({"loss_type": "cispo"}, {"loss_mode": "cispo", "loss_agg_mode": "token-mean"}),
        ({"loss_type": "sapo"}, {"loss_mode": "sapo", "loss_agg_mode": "seq-mean-token-mean"}),
    ],
)
def test_aliases_mean_our_keys_and_are_noted(
    given: dict[str, Any], meant: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        config = ObjectiveConfig.read(given)
    assert {key: getattr(config, key) for key in meant} == meant
    if given != {"importance_sampling_level": "token"}:
        assert all(any(alias in note for note in caplog.messages) for alias in given if alias != "horizon")


def test_an_alias_may_repeat_what_its_key_says() -> None:
    assert ObjectiveConfig.read({"epsilon": 0.1, "clip_ratio_low": 0.1}).epsilon == 0.1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"epsilon": 0.1, "clip_ratio_low": 0.2}, ["clip_ratio_low=0.2", "epsilon", "0.1", "keep one"]),
        ({"clip_ratio": 0.1, "clip_ratio_high": 0.3}, ["clip_ratio_high=0.3", "'clip_ratio'"]),
        ({"loss_type": "cispo", "loss_mode": "vanilla"}, ["loss_type='cispo'", "vanilla"]),
        ({"importance_sampling_level": "token", "loss_mode": "gspo"}, ["gspo", "keep one"]),
        ({"epsilonn": 0.1}, ["epsilonn", "did you mean 'epsilon'"]),
        ({"gigpo": {"step_advantage": 1.0}}, ["step_advantage", "did you mean 'step_advantage_w'"]),
        ({"loss_type": "bnpo"}, ["bnpo", "dapo"]),
        ({"kl_loss_type": "abs"}, ["abs", "low_var_kl"]),
        ({"epsilon": -0.1}, ["epsilon", "-0.1"]),
        ({"epsilon": float("nan")}, ["epsilon", "nan"]),
        ({"scale_rewards": "rows"}, ["scale_rewards", "rows"]),
        ({"loss_agg_mode": "seq-mean-token-sum-norm"}, ["horizon"]),
        ({"overlong": {"enable": True, "len": 4}}, ["horizon"]),
        ({"overlong": {"enable": True, "len": 9}, "horizon": 8}, ["overlong.len=9"]),
        ({"entropy_coef_min": 0.5, "entropy_coef_max": 0.1}, ["entropy_coef_min"]),
        ({"gigpo": 3}, ["gigpo", "3"]),
    ],
)
def test_bad_settings_name_the_key_the_value_and_the_fix(given: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        ObjectiveConfig.read(given)
    for word in words:
        assert word in str(caught.value)


def test_configs_are_frozen_and_have_derived_bounds() -> None:
    config = ObjectiveConfig(epsilon=0.2)
    with pytest.raises(ValidationError):
        config.epsilon = 0.3
    assert (config.clip_low, config.clip_high) == (0.8, 1.2)
    assert ObjectiveConfig(epsilon=0.2, epsilon_high=0.28).clip_high == 1.28


def test_a_config_survives_its_own_dump() -> None:
    config = ObjectiveConfig.read({"loss_type": "dr_grpo", "horizon": 9, "rollout_correction": {}, "weights": ["a:b"]})
    assert ObjectiveConfig.read(config.model_dump()) == config
    assert ObjectiveConfig.model_validate_json(config.model_dump_json()) == config
