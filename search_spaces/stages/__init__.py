"""Networks as tables: a stem, at most nine stage records and a head; the values behind the space ``stages``."""

from search_spaces.stages.build import build
from search_spaces.stages.named import PLANS, define
from search_spaces.stages.plan import MOST_STAGES, Head, Plan, Stage, Stem

__all__ = ["MOST_STAGES", "PLANS", "Head", "Plan", "Stage", "Stem", "build", "define"]
