"""The objective a training loop calls: `prepare` once per rollout batch, `loss` once per micro-batch.

    loss_t = policy_loss(logp, old_logp, A w) * is_w + beta KL - entropy_coef H
    L      = aggregate(forward rows) + reflect_coef * aggregate(reflection rows)

Order of a step: shape_rewards -> filter_groups -> pack -> old_pass (-> reference_pass) -> `prepare`
-> for each mini-batch: denominators -> for each micro-batch: token_logprobs -> `loss` -> backward.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from palaestra.mcp_servers.errors import TrainingError
from palaestra.trainers.batch import Denominators, TrainBatch
from palaestra.trainers.objectives.config import ObjectiveConfig
from palaestra.trainers.objectives.entropy import adapted_coefficient, top_entropy_mask
from palaestra.trainers.objectives.mismatch import correction
from palaestra.trainers.objectives.registry import advantages, aggregations, kls, policy_losses
from palaestra.trainers.objectives.shaping import mask_truncated
from palaestra.trainers.objectives.surrogate import log_ratio
from palaestra.trainers.objectives.weights import compose_weights


@dataclass(frozen=True, slots=True)
class ObjectiveOutput:
    """Scalar loss with gradient, and metrics that add up over the micro-batches of an optimiser step to its means."""

    loss: Tensor
    metrics: dict[str, float] = field(default_factory=dict)


class Objective:
    """One configured objective; holds only the state of controllers (`state_dict`), everything else is pure."""

    def __init__(self, config: ObjectiveConfig) -> None:
        self.config = config
        self._advantage = advantages.get(config.adv_estimator)
        self._policy_loss = policy_losses.get(config.loss_mode)
        self._aggregate = aggregations.get(config.loss_agg_mode)
        self._kl = kls.get(config.kl_estimator)
        self._entropy_coef = config.entropy_coef
        self._bonus_on = True
        self._weight_states: dict[str, dict[str, Any]] = {}

    @property
    def entropy_coef(self) -> float:
        """The bonus coefficient in force; 0 while the adaptive bonus is switched off by high entropy."""
        return self._entropy_coef if self._bonus_on else 0.0

    @property
    def needs_reference(self) -> bool:
        """True if `reference_pass` must run before `prepare`."""
        return self.config.beta > 0

    @property
    def needs_entropy(self) -> bool:
        """True if `prepare` reads the old policy's entropy, so `behaviour_as_old` is not enough."""
        return self.config.use_adaptive_entropy or self.config.top_entropy_quantile < 1

    @property
    def needs_entropy_grad(self) -> bool:
        """True if `loss` differentiates the entropy: pass it to `token_logprobs(entropy_grad=...)`."""
        return self.entropy_coef > 0

    def prepare(self, batch: TrainBatch) -> tuple[TrainBatch, dict[str, float]]:
        """Fill advantages, token weights and mismatch weights of a whole rollout batch; advance the controllers.

        Raises: TrainingError "no_old_pass", "no_reference", "no_entropy", "non_finite", and those of the parts.
        """
        config = self.config
        if (old_logprobs_BT := batch.old_logprobs_BT) is None:
            raise TrainingError("no_old_pass", "old_logprobs_BT is missing; run old_pass or behaviour_as_old first")
        if self.needs_reference and batch.ref_logprobs_BT is None:
            raise TrainingError("no_reference", f"beta={config.beta} needs ref_logprobs_BT; run reference_pass first")
        if config.mask_truncated_completions:
            batch = mask_truncated(batch)
        advantages_BT = self._advantage(batch, config)
        _check_advantages(batch, advantages_BT)
        metrics = _advantage_metrics(batch, advantages_BT)
        metrics |= self._advance_entropy(batch)
        weights_BT, weight_metrics = compose_weights(batch, advantages_BT, self._weight_states, config)
        if config.top_entropy_quantile < 1:
            top_BT = top_entropy_mask(_entropy(batch), batch.mask_BT, config.top_entropy_quantile)
            advantages_BT = torch.where(top_BT, advantages_BT, 0.0)
        is_weights_BT = None
        if config.rollout_correction is not None:
            is_weights_BT, is_metrics = correction(old_logprobs_BT, batch.behaviour_logprobs_BT, batch.mask_BT, config)
            metrics |= is_metrics
        prepared = batch.replace(advantages_BT=advantages_BT, weights_BT=weights_BT, is_weights_BT=is_weights_BT)
        return prepared, metrics | weight_metrics

    def loss(
        self, logprobs_BT: Tensor, entropy_BT: Tensor, batch: TrainBatch, denominators: Denominators
    ) -> ObjectiveOutput:
        """Loss of one micro-batch, its share of the optimiser step's loss.

        Args:
            logprobs_BT: of the present policy, [B, T], nats (`token_logprobs`).
            entropy_BT: of the present policy, [B, T], nats.
            batch: a part of what `prepare` returned.
            denominators: of the whole optimiser step (`TrainBatch.denominators(config.horizon or 1)`).
        Raises: TrainingError "not_prepared", "batch_shape", "non_finite".
        """
        if batch.advantages_BT is None or batch.old_logprobs_BT is None:
            raise TrainingError("not_prepared", "the batch has no advantages; call prepare first")
        if logprobs_BT.shape != batch.mask_BT.shape or entropy_BT.shape != batch.mask_BT.shape:
            raise TrainingError(
                "batch_shape",
                f"logprobs {tuple(logprobs_BT.shape)}, entropy {tuple(entropy_BT.shape)}, "
                f"batch {tuple(batch.mask_BT.shape)} must be equal",
            )
        mask_BT, advantages_BT = batch.mask_BT, batch.advantages_BT
        if batch.weights_BT is not None:
            advantages_BT = advantages_BT * batch.weights_BT
        loss_BT, token_metrics = self._policy_loss(
            logprobs_BT, batch.old_logprobs_BT, advantages_BT, mask_BT, self.config
        )
        if batch.is_weights_BT is not None:
            loss_BT = loss_BT * batch.is_weights_BT
        if self.config.beta > 0 and not self.config.use_kl_in_reward:
            kl_BT = self._kl_term(logprobs_BT, batch)
            loss_BT = loss_BT + self.config.beta * kl_BT
            token_metrics["kl"] = kl_BT.detach()
        if self.entropy_coef > 0:
            loss_BT = loss_BT - self.entropy_coef * torch.where(mask_BT, entropy_BT, 0.0)
        token_metrics["entropy"] = entropy_BT.detach()
        token_metrics["approx_kl"] = (batch.old_logprobs_BT - logprobs_BT).detach()
        loss = self._reduce(loss_BT, batch, denominators)
        if not bool(loss.detach().isfinite()):
            raise TrainingError("non_finite", f"the loss is {float(loss.detach())}; lower the learning rate")
        return ObjectiveOutput(loss, _means(token_metrics, mask_BT, denominators.tokens))

    def state_dict(self) -> dict[str, Any]:
        """JSON-ready state of the controllers."""
        return {"entropy_coef": self._entropy_coef, "bonus_on": self._bonus_on, "weights": self._weight_states}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._entropy_coef, self._bonus_on = float(state["entropy_coef"]), bool(state["bonus_on"])
        self._weight_states = {name: dict(value) for name, value in state["weights"].items()}

    def _kl_term(self, logprobs_BT: Tensor, batch: TrainBatch) -> Tensor:
        """KL estimate, 0 outside the mask; k3 times the ratio has the gradient of KL(policy || reference)."""
        if batch.ref_logprobs_BT is None or batch.old_logprobs_BT is None:
            raise TrainingError("no_reference", "beta > 0 needs ref_logprobs_BT; run reference_pass first")
        masked_BT = torch.where(batch.mask_BT, logprobs_BT, batch.ref_logprobs_BT)
        kl_BT = self._kl(masked_BT, batch.ref_logprobs_BT, self.config)
        if self.config.use_bias_correction_kl and self.config.kl_estimator == "k3":
            kl_BT = kl_BT * log_ratio(logprobs_BT, batch.old_logprobs_BT, batch.mask_BT).exp()
        return torch.where(batch.mask_BT, kl_BT, 0.0)

    def _reduce(self, loss_BT: Tensor, batch: TrainBatch, denominators: Denominators) -> Tensor:
        if denominators.reflect.rows == 0:
            return self._aggregate(loss_BT, batch.mask_BT, denominators.forward, self.config)
        reflect_BT = batch.is_reflect_B.unsqueeze(1) & batch.mask_BT
        forward = self._aggregate(loss_BT, batch.mask_BT & ~reflect_BT, denominators.forward, self.config)
        reflect = self._aggregate(loss_BT, reflect_BT, denominators.reflect, self.config)
        return forward + self.config.reflect_coef * reflect

    def _advance_entropy(self, batch: TrainBatch) -> dict[str, float]:
        if not self.config.use_adaptive_entropy:
            return {}
        mean = float(_entropy(batch)[batch.mask_BT].double().mean())
        self._entropy_coef = adapted_coefficient(self._entropy_coef, mean, self.config)
        self._bonus_on = mean <= self.config.entropy_target
        return {"entropy_coef": self.entropy_coef}


def _entropy(batch: TrainBatch) -> Tensor:
    if batch.entropy_BT is None:
        raise TrainingError("no_entropy", "entropy_BT is missing; run old_pass, which measures it")
    return batch.entropy_BT


def _check_advantages(batch: TrainBatch, advantages_BT: Tensor) -> None:
    if advantages_BT.shape != batch.mask_BT.shape:
        raise TrainingError("batch_shape", f"advantages {tuple(advantages_BT.shape)}, batch {batch.mask_BT.shape}")
    if not bool(advantages_BT.isfinite().all()):
        raise TrainingError("non_finite", "an advantage is not finite; check the rewards and eps")


def _advantage_metrics(batch: TrainBatch, advantages_BT: Tensor) -> dict[str, float]:
    chosen_N = advantages_BT[batch.mask_BT].double()
    if len(chosen_N) == 0:
        raise TrainingError("no_model_token", "no model token is left to train on; all rows are invalid or truncated")
    return {
        "advantage/mean": float(chosen_N.mean()),
        "advantage/abs_mean": float(chosen_N.abs().mean()),
        "advantage/zero_frac": float((chosen_N == 0).double().mean()),
    }


def _means(token_metrics: dict[str, Tensor], mask_BT: Tensor, tokens: int) -> dict[str, float]:
    return {
        name: float(torch.where(mask_BT, value_BT, 0.0).sum()) / max(tokens, 1)
        for name, value_BT in token_metrics.items()
    }
