"""Recipes: what they may say, how mistakes are named, and that settings survive being written down."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from palaestra.mcp_servers.errors import ConfigError
from palaestra.trainers.config import RLSettings, TrainConfig, build_config, find_recipe, list_recipes, read_recipe


def refused(*overrides: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read_recipe("sokoban", overrides)
    return caught.value


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_that_ships_is_valid_and_survives_a_round_trip(name: str) -> None:
    config = read_recipe(name)
    assert build_config(tomllib.loads(tomli_w.dumps(config.to_toml_data()))) == config
    assert read_recipe(find_recipe(name)) == config
    assert config.name


def test_overrides_are_toml_or_a_bare_word() -> None:
    config = read_recipe(
        "sokoban",
        ["rl.iterations=7", "rl.rows=trajectory", "env.kwargs.size=[7, 9]", 'name="other"', "threads = 1",
         "objective.gigpo.mode='mean_std_norm'", "reward.components={ success = 2 }", "env.kwargs.new.key=true"],
    )  # fmt: skip
    assert (config.rl.iterations, config.rl.rows, config.name, config.threads) == (7, "trajectory", "other", 1)
    assert config.env.kwargs["size"] == [7, 9]
    assert config.env.kwargs["new"] == {"key": True}
    assert config.objective.gigpo.mode == "mean_std_norm"
    assert config.reward.components == {"success": 2.0}


def test_later_overrides_win_and_the_recipe_stays_as_it_is() -> None:
    assert read_recipe("sokoban", ["seed=3", "seed=4"]).seed == 4
    assert read_recipe("sokoban").seed == 0


@pytest.mark.parametrize(
    ("override", "key", "near"),
    [
        ("rl.iteratoins=3", "rl.iteratoins in [rl]", "iterations"),
        ("rl.optimizer.learning_rat=1", "rl.optimizer.learning_rat in [rl.optimizer]", "learning_rate"),
        ("warmup.optimizer.beta=1", "warmup.optimizer.beta in [warmup.optimizer]", "betas"),
        ("objective.gama=1", "objective.gama in [objective]", "gamma"),
        ("objective.gigpo.mod=1", "objective.gigpo.mod in [objective.gigpo]", "mode"),
        ("engine.max_slot=3", "engine.max_slot in [engine]", "max_slots"),
        ("reward.component.success=1", "reward.component in [reward]", "components"),
        ("evaluation.evry=1", "evaluation.evry in [evaluation]", "every"),
        ("thread=1", "thread at the top level", "threads"),
    ],
)
def test_an_unknown_key_is_named_with_its_section_and_the_nearest(override: str, key: str, near: str) -> None:
    error = refused(override)
    assert error.code == "config"
    assert error.message.startswith(f"unknown key {key}; did you mean {near!r}? known: ")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("rl.iterations=abc", ("[rl]", "iterations", "valid integer", "'abc'")),
        ("rl.iterations=-1", ("[rl]", "iterations", "greater than or equal to 0", "-1")),
        ("rl.temperature=0", ("[rl]", "temperature", "greater than 0")),
        ("rl.rows=turn", ("[rl]", "rows", "'step' or 'trajectory'", "'turn'")),
        ("rl.optimizer.betas=[1, 2, 3]", ("[rl.optimizer]", "betas", "at most 2")),
        ("warmup.optimizer.learning_rate=0", ("[warmup.optimizer]", "learning_rate", "greater than 0")),
        ("objective.gamma=7", ("objective.gamma", "less than or equal to 1", "7")),
        ("engine.max_slots=0", ("engine.max_slots", "greater than or equal to 1", "0")),
        ("reward.components.sucess=1", ("[reward]", "unknown component 'sucess'", "did you mean 'success'")),
        ("policy.size=Q", ("[policy]", "unknown size 'Q'", "XS")),
        ("policy.path=/x", ("[policy]", "either size", "or path", 'set the other to ""')),
        ("rl=3", ("rl", "valid dictionary", "3")),
        ("seed=1.5", ("seed", "valid integer", "1.5")),
        ("env.id=3", ("[env]", "id", "valid string")),
        ("protocol.think=maybe", ("[protocol]", "think", "'maybe'")),
        ("objective.kl_loss_type=zz", ("kl_loss_type", "'zz'", "low_var_kl")),
        ("objective.clip_ratio_low=0.1", ("clip_ratio_low", "epsilon", "keep one")),
    ],
)
def test_a_wrong_value_is_named_with_its_key_and_what_is_allowed(override: str, words: tuple[str, ...]) -> None:
    message = refused(override).message
    assert all(word in message for word in words), message


@pytest.mark.parametrize("override", ["rl", "=3", "rl.=3", ".seed=3", "rl..iterations=3"])
def test_an_override_that_names_no_key_is_refused(override: str) -> None:
    error = refused(override)
    assert error.code == "override"
    assert repr(override) in error.message
    assert "section.key=value" in error.message


def test_an_override_below_a_value_is_refused() -> None:
    error = refused("seed.x=3")
    assert (error.code, "'seed' is a value, not a section" in error.message) == ("override", True)


def test_aliases_of_other_libraries_are_read() -> None:
    config = build_config({"name": "x", "objective": {"clip_ratio_low": 0.1, "kl_loss_coef": 0.25}})
    assert (config.objective.epsilon, config.objective.beta) == (0.1, 0.25)


def test_a_path_alone_unsets_the_default_size() -> None:
    for policy in ({"path": "/some/model"}, {"path": "/some/model", "size": ""}):
        config = build_config({"name": "x", "policy": policy})
        assert (config.policy.path, config.policy.size) == (Path("/some/model"), None)
        assert build_config(config.to_toml_data()) == config
    assert build_config({"name": "x", "policy": {"path": "", "size": "S"}}).policy.size == "S"


@pytest.mark.parametrize("policy", [{"size": ""}, {"size": "", "path": ""}])
def test_no_policy_at_all_is_refused(policy: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="give either size"):
        build_config({"name": "x", "policy": policy})


def test_a_none_that_toml_cannot_say_is_refused_not_changed() -> None:
    config = build_config({"name": "x", "objective": {"dual_clip_c": None}})
    with pytest.raises(ConfigError, match=r"objective\.dual_clip_c = None cannot be written"):
        config.to_toml_data()


def test_settings_are_frozen() -> None:
    config = read_recipe("sokoban")
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 3


def test_a_recipe_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("seed = 9\n")
    config = read_recipe(path, ["rl.iterations=2"])
    assert (config.name, config.seed, config.rl.iterations) == ("mine", 9, 2)
    assert config == TrainConfig(name="mine", seed=9, rl=RLSettings(iterations=2))


def test_a_recipe_that_is_not_there_or_not_toml(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no recipe .sokobann.*did you mean .sokoban.") as caught:
        read_recipe("sokobann")
    assert caught.value.code == "recipe"
    path = tmp_path / "broken.toml"
    for content in (b"seed = = 3", b"seed = '\xff'"):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"broken\.toml") as caught:
            read_recipe(path)
        assert caught.value.code == "recipe"
