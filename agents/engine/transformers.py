"""The fallback engine: any causal language model of the transformers library, same protocol, same draws.

Slower than the decode engine: every turn prefills the session's whole stream again, because sliding windows and
recurrent layers leave no general way to join the caches of streams of different lengths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel

from palaestra.agents.engine.base import Generation, GenerationRequest, Weights, check_requests
from palaestra.agents.engine.engine import EngineConfig
from palaestra.agents.engine.sampling import check_sampling, stream_keys
from palaestra.agents.engine.turn import Turn
from palaestra.agents.types import FinishReason, Sampling
from palaestra.mcp_servers.errors import TrainingError


class TransformersEngine:
    """`GenerationEngine` over a transformers model.

    Args:
        model: a causal language model; it is used as it stands, so a trainer that shares it changes the policy
            without a new version. `update_weights` copies into it.
        stop_ids: tokens that end a turn.
        config: `max_slots`, `max_len`, `device`; the model's own number format counts.
    """

    def __init__(self, model: PreTrainedModel, stop_ids: Sequence[int], config: EngineConfig | None = None) -> None:
        self.config = config or EngineConfig()
        self.model = model.eval()
        self._device = torch.device(self.config.device)
        self._vocab_size = int(model.config.vocab_size)
        self._stop_ids = np.array(sorted(stop_ids), dtype=np.int64)
        self._sessions: dict[str, list[int]] = {}
        self._version = 0

    @property
    def policy_version(self) -> int:
        """Number of weight updates so far."""
        return self._version

    @torch.inference_mode()
    def generate(self, requests: Sequence[GenerationRequest], sampling: Sampling) -> list[Generation]:
        """See `GenerationEngine.generate`; cost grows with the streams' whole lengths, padded to the longest."""
        check_sampling(sampling)
        check_requests(requests, self._vocab_size)
        full = Generation((), (), (), FinishReason.LENGTH, self._version, context_full=True)
        results = [full] * len(requests)
        streams = [[*([] if r.session is None else self._sessions.get(r.session, [])), *r.new_ids] for r in requests]
        fitting = [i for i, stream in enumerate(streams) if len(stream) < self.config.max_len]
        for first in range(0, len(fitting), self.config.max_slots):
            part = fitting[first : first + self.config.max_slots]
            turn = self._run([requests[i] for i in part], [streams[i] for i in part], sampling)
            for row, index in enumerate(part):
                results[index] = self._commit(requests[index], streams[index], row, turn)
        return results

    def release(self, session: str) -> None:
        """Forget a session."""
        self._sessions.pop(session, None)

    def update_weights(self, weights: Weights) -> int:
        """Copy new weights into the model."""
        tensors: Mapping[str, Tensor] = weights.state_dict() if isinstance(weights, nn.Module) else weights
        own = self.model.state_dict()
        wrong = [name for name, tensor in tensors.items() if name not in own or own[name].shape != tensor.shape]
        named = {name for name, _ in self.model.named_parameters()}
        wrong.extend(sorted(named.difference(tensors)))
        if wrong:
            raise TrainingError("weights", f"{', '.join(wrong[:3])}: missing or of another shape than the model's")
        self.model.load_state_dict(dict(tensors), strict=False)
        self._version += 1
        return self._version

    def _run(self, requests: Sequence[GenerationRequest], streams: Sequence[list[int]], sampling: Sampling) -> Turn:
        lengths = [len(stream) for stream in streams]
        turn = Turn(
            lengths=lengths,
            budgets=[min(sampling.max_new_tokens, self.config.max_len - length) for length in lengths],
            keys_B=stream_keys(sampling.seed, [(request.row_id, request.turn) for request in requests]),
            stop_ids=self._stop_ids,
            sampling=sampling,
        )
        width = max(lengths)
        ids_BT = torch.tensor([[0] * (width - len(s)) + s for s in streams], device=self._device)
        mask_BT = torch.tensor([[0] * (width - n) + [1] * n for n in lengths], device=self._device)
        positions_BT = (mask_BT.cumsum(dim=-1) - 1).clamp_(min=0)
        cache = DynamicCache()
        while True:
            logits_BV = self.model(
                input_ids=ids_BT, attention_mask=mask_BT, position_ids=positions_BT, past_key_values=cache,
                use_cache=True, logits_to_keep=1,
            ).logits[:, -1]  # fmt: skip
            if not turn.sample(logits_BV):
                return turn
            ids_BT = torch.from_numpy(turn.last_B).to(self._device).unsqueeze(-1)
            mask_BT = torch.cat((mask_BT, torch.ones_like(mask_BT[:, :1])), dim=-1)
            positions_BT = positions_BT[:, -1:] + 1

    def _commit(self, request: GenerationRequest, stream: list[int], row: int, turn: Turn) -> Generation:
        count = int(turn.counts[row])
        tokens = turn.tokens[row, :count].tolist()
        if request.session is not None:
            self._sessions[request.session] = stream + tokens
        return Generation(
            token_ids=tuple(tokens),
            logprobs=tuple(turn.logprobs[row, :count].tolist()),
            entropies=tuple(turn.entropies[row, :count].tolist()),
            finish_reason=FinishReason.STOP if tokens[-1] in self._stop_ids else FinishReason.LENGTH,
            policy_version=self._version,
        )
