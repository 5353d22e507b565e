"""The Python page: what ``import nas`` offers beside the graph language, spaces and registries."""
