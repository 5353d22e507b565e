"""Trackers: what is told of a search while it goes on, such as TensorBoard, MLflow and Weights & Biases."""

from nas.trackers.base import Callback as Callback
from nas.trackers.base import Epoch as Epoch
from nas.trackers.base import FinalTraining as FinalTraining
from nas.trackers.base import TrackedRun as TrackedRun
from nas.trackers.registry import TRACKERS as TRACKERS
from nas.trackers.registry import register_tracker as register_tracker
