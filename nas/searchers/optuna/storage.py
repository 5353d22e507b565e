"""A history as Optuna sees it: a storage of finished and running trials, and the one that is being asked.

Optuna's own storages grow with every trial that is asked and copy every trial that is added, so that a study cannot
be put back to what it was: rebuilding one of 10,000 trials takes 0.8 s. This one shares the list of trials and forgets
the asked trial when the next is asked. Importing this module imports Optuna.
"""

from __future__ import annotations

from collections.abc import Container
from datetime import datetime
from typing import NoReturn

from optuna.distributions import BaseDistribution
from optuna.pruners import NopPruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

NAME = "history"
EPOCH = datetime(2000, 1, 1)
"""The time of every trial: samplers do not look at it, and it must not differ between two asks."""


def frozen(
    number: int,
    state: TrialState,
    value: float | None = None,
    params: dict[str, object] | None = None,
    distributions: dict[str, BaseDistribution] | None = None,
    system_attrs: dict[str, object] | None = None,
) -> FrozenTrial:
    """Return trial ``number`` as Optuna holds it."""
    return FrozenTrial(
        number=number,
        trial_id=number,
        state=state,
        value=value,
        datetime_start=EPOCH,
        datetime_complete=EPOCH if state.is_finished() else None,
        params=params or {},
        distributions=distributions or {},
        user_attrs={},
        system_attrs=system_attrs or {},
        intermediate_values={},
    )


class HistoryStorage(BaseStorage):
    """Holds one study: ``trials``, numbered in order and never changed, and the trial asked last.

    ``attrs`` are the study's system attributes, where samplers keep what they know; they are changed in place.
    """

    def __init__(self, trials: list[FrozenTrial], attrs: dict[str, object]) -> None:
        self._trials = trials
        self.asked: FrozenTrial | None = None
        self.attrs = attrs

    def study(self, sampler: BaseSampler) -> Study:
        """Return the study with ``sampler``."""
        return Study(NAME, self, sampler, NopPruner())

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Begin a trial in place of the one asked before."""
        self.asked = frozen(len(self._trials), TrialState.RUNNING)
        return self.asked.number

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial, shared."""
        return self._updatable() if trial_id == len(self._trials) else self._trials[trial_id]

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials in ``states``, shared even where a copy is asked for: samplers only read them."""
        if states == (TrialState.WAITING,):
            return []
        trials = self._trials if self.asked is None else [*self._trials, self.asked]
        return list(trials) if states is None else [t for t in trials if t.state in states]

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """Set a parameter of the asked trial."""
        trial = self._updatable()
        trial.params = {**trial.params, param_name: distribution.to_external_repr(param_value_internal)}
        trial.distributions = {**trial.distributions, param_name: distribution}

    def set_trial_system_attr(self, trial_id: int, key: str, value: object) -> None:
        """Set an attribute of the asked trial."""
        self._updatable().system_attrs[key] = value

    def set_study_system_attr(self, study_id: int, key: str, value: object) -> None:
        """Set an attribute of the study."""
        self.attrs[key] = value

    def get_study_system_attrs(self, study_id: int) -> dict[str, object]:
        """Return the attributes of the study."""
        return self.attrs

    def get_study_user_attrs(self, study_id: int) -> dict[str, object]:
        """Return nothing: a history has none."""
        return {}

    def get_study_id_from_name(self, study_name: str) -> int:
        """Return the id of the one study."""
        return 0

    def get_study_name_from_id(self, study_id: int) -> str:
        """Return the name of the one study."""
        return NAME

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Return that rewards are maximised."""
        return [StudyDirection.MAXIMIZE]

    def _refuse(self, *args: object, **kwargs: object) -> NoReturn:
        """Refuse: there is one study, and the history is not Optuna's to change."""
        raise NotImplementedError

    create_new_study = delete_study = get_all_studies = _refuse
    set_study_user_attr = set_trial_user_attr = _refuse
    set_trial_state_values = set_trial_intermediate_value = _refuse

    def _updatable(self) -> FrozenTrial:
        assert self.asked is not None
        return self.asked
