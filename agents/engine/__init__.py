"""Batched generation with a KV cache that lives across the turns of an episode."""
