import subprocess
import sys
from collections.abc import Callable

import pytest

from palaestra.mcp_servers.errors import ConfigError
from palaestra.trainers.objectives import registry
from palaestra.trainers.objectives.registry import Registry, advantages, policy_losses

Shape = Callable[[float], float]


def double(side: float) -> float:
    return 2 * side


NOT_CALLABLE = 3


def test_names_are_taken_once_unless_overridden() -> None:
    shapes: Registry[Shape] = Registry("shape")
    shapes.register("double")(double)
    with pytest.raises(ConfigError) as caught:
        shapes.register("double")(double)
    assert caught.value.code == "name_taken"
    shapes.register("double", override=True)(abs)
    assert shapes.get("double")(-1.0) == 1.0
    assert shapes.names() == ["double"]
    with pytest.raises(ConfigError):
        shapes.register("a:b")


def test_a_name_with_a_colon_is_imported() -> None:
    shapes: Registry[Shape] = Registry("shape")
    assert shapes.get(f"{__name__}:double")(2.0) == 4.0


@pytest.mark.parametrize(
    "name", ["nowhere.at_all:fn", f"{__name__}:absent", ":double", f"{__name__}:NOT_CALLABLE", "vanila"]
)
def test_unknown_names_are_config_errors(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        policy_losses.get(name)
    assert caught.value.code == "unknown_policy_loss"
    assert name in str(caught.value)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'vanilla'\? known: cispo, gspo, reinforce, sapo, vanilla"):
        policy_losses.get("vanila")


def test_a_built_in_cannot_be_taken_by_accident_even_before_first_use() -> None:
    with pytest.raises(ConfigError):
        advantages.register("grpo")(lambda batch, config: batch.mask_BT.float())


@pytest.mark.parametrize("first", ["objectives.gigpo", "advantages", "objectives.kl", "objectives.registry"])
def test_registries_fill_whatever_is_imported_first(first: str) -> None:
    program = (
        f"import palaestra.trainers.{first}; from palaestra.trainers.objectives import registry as r; "
        "print(*(len(x.names()) for x in (r.advantages, r.policy_losses, r.kls, r.aggregations)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["8", "5", "5", "5"]
    assert registry.token_weights.kind == "token_weight"
