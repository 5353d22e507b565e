"""The built-in search spaces; importing this module registers them."""

from search_spaces.spaces import nasnet, nb101, nb201

__all__ = ["nasnet", "nb101", "nb201"]
