"""The built-in search spaces; importing this module registers them."""

from search_spaces.spaces import darts, handcrafted, lecture, macro, nasnet, nb101, nb201, stages

__all__ = ["darts", "handcrafted", "lecture", "macro", "nasnet", "nb101", "nb201", "stages"]
