"""The text-agent contract: prompt, tags, strict parser, batched stepping."""
