"""The environment layer: Gymnasium environments for language agents. Imports neither torch nor transformers."""
