"""Networks as tables: a stem, at most nine stage records and a head; the values behind the space ``stages``."""

from search_spaces.stages.builder import build
from search_spaces.stages.plan import MOST_STAGES, Head, NetworkPlan, Stage, Stem
from search_spaces.stages.register import PLANS, define

__all__ = ["MOST_STAGES", "PLANS", "Head", "NetworkPlan", "Stage", "Stem", "build", "define"]
