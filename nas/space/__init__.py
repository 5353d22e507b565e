"""Search spaces: a function that chooses, and everything derived from it."""

from nas.space.choices import Choose
from nas.space.skeletons import Skeleton
from nas.space.space import SPACES, Cells, Network, Size, Space, register_space

__all__ = ["SPACES", "Cells", "Choose", "Network", "Size", "Skeleton", "Space", "register_space"]
