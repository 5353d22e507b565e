"""A search in TensorBoard: event files that are a fold of the journal, written once more whenever a run is resumed.

The package tensorboard alone writes them, as ``torch.utils.tensorboard`` has it do; torch is not needed. Numbers are
float64, so that MACs are exact. The time of an event is when the run began and the seconds of evaluation until
then, which the journal knows, so that a run that was resumed has the events of one that was not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nas.graph import Graph
from nas.graph.drawing.svg import draw_svg
from nas.report.markdown import code, escaped, markdown_table
from nas.report.run_view import Score
from nas.trackers.base import Callback, Epoch, FinalTraining, TrackedRun, decisions_table, epoch_numbers, numbers_of
from nas.trackers.registry import package
from nas.types import Trial

FLUSH_SECONDS = 2
"""After which an event is on disk, for a TensorBoard that looks on."""


class TensorBoard(Callback):
    """Writes event files into ``folder``/RUN, by default ``tensorboard`` in the run's own folder.

    Scalars by trial: ``trial/NAME`` for every number that ``trials.csv`` has of it, and ``best/reward``; texts: the
    decisions of every trial, the final comparison and the winner as SVG; the final trainings' ``loss`` by epoch; and
    the winner under Graphs.
    """

    hears_all = True

    def __init__(self, folder: str = "") -> None:
        self._given = folder
        self._writer = package("tensorboard.summary.writer.event_file_writer", "tensorboard").EventFileWriter
        self._open: Any = None
        self._time = 0.0
        self._winner: tuple[Trial, Graph | None] | None = None

    def on_start(self, run: TrackedRun) -> None:
        """Begin the files again; those that this tracker wrote of the run before are removed."""
        folder, suffix = run.place(self._given, "tensorboard"), f".nas-{run.id}"
        # a run of the same name from another folder of results would be drawn as one with it
        if any(not old.name.endswith(suffix) for old in folder.glob("events.out.tfevents.*.nas-*")):
            folder = folder.with_name(f"{folder.name}-{run.id[:8]}")
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(f"events.out.tfevents.*{suffix}"):
            old.unlink()
        self._open = self._writer(str(folder), flush_secs=FLUSH_SECONDS, filename_suffix=suffix)
        self._time, self._winner = run.started, None
        rows = [[code(name), code(str(value))] for name, value in run.config.items()]
        self._text("run/settings", "\n".join(markdown_table(["setting", "value"], "ll", rows)), 0)

    def on_trial(self, trial: Trial, best: Trial | None) -> None:
        """Write its numbers and its decisions at its index."""
        self._time += trial.seconds
        for name, value in numbers_of(trial).items():
            self._scalar(f"trial/{name}", value, trial.index)
        if best is not None and best.reward is not None:
            self._scalar("best/reward", best.reward, trial.index)
        self._text("trial/decisions", decisions_table(trial), trial.index)

    def on_best(self, trial: Trial, graph: Graph | None) -> None:
        """Keep it for the end: of the pictures only the winner's is written."""
        self._winner = trial, graph

    def on_training(self, training: FinalTraining) -> None:
        """Write its score at the number of its seed, and its learning curve."""
        self._time += training.seconds
        if training.score is not None:
            self._scalar(f"final/{training.role}/score", training.score, training.number)
        for epoch, loss in training.curve:
            self._scalar(f"final/{training.role}/seed {training.number}/loss", loss, epoch)

    def on_epoch(self, epoch: Epoch) -> None:
        """Write its numbers at its number."""
        self._time += epoch.seconds
        for name, value in epoch_numbers(epoch).items():
            self._scalar(name, value, epoch.number)

    def on_final(self, rows: Sequence[Score]) -> None:
        """Write the comparison as a table."""
        head = ["network", "role", "mean", "standard deviation", "parameters", "MACs"]
        cells = [[escaped(r.name), escaped(r.role), *r.shown(), str(r.params), str(r.macs)] for r in rows]
        self._text("final/comparison", "\n".join(markdown_table(head, "llrrrr", cells)), 0)

    def on_end(self, reason: str) -> None:
        """Write the winner, and close the files."""
        if self._open is None:
            return
        if self._winner is not None:
            trial, graph = self._winner
            self._text("best/decisions", decisions_table(trial), trial.index)
            if graph is not None:
                svg = draw_svg(graph, title=f"trial {trial.index}")
                self._text("best/network", f"```svg\n{svg}\n```", trial.index)
                self._graph(graph)
        self._open.close()
        self._open = None

    def _scalar(self, tag: str, value: float, step: int) -> None:
        from tensorboard.compat.proto import summary_pb2, tensor_pb2, types_pb2

        tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_DOUBLE, double_val=[value])
        self._summary(tag, tensor, "scalars", summary_pb2.DATA_CLASS_SCALAR, step)

    def _text(self, tag: str, text: str, step: int) -> None:
        from tensorboard.compat.proto import summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2

        one = tensor_shape_pb2.TensorShapeProto(dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=1)])
        tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=[text.encode()], tensor_shape=one)
        self._summary(tag, tensor, "text", summary_pb2.DATA_CLASS_TENSOR, step)

    def _summary(self, tag: str, tensor: object, plugin: str, data_class: int, step: int) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2

        data = summary_pb2.SummaryMetadata.PluginData(plugin_name=plugin)
        metadata = summary_pb2.SummaryMetadata(plugin_data=data, data_class=data_class)
        value = summary_pb2.Summary.Value(tag=tag, metadata=metadata, tensor=tensor)
        event = event_pb2.Event(wall_time=self._time, step=step, summary=summary_pb2.Summary(value=[value]))
        self._open.add_event(event)

    def _graph(self, graph: Graph) -> None:
        """Write a network as TensorBoard draws it: dotted names become nested boxes."""
        from tensorboard.compat.proto import attr_value_pb2, event_pb2, graph_pb2, node_def_pb2, versions_pb2

        called = {name: name.replace(".", "/") for name in (n.name for n in graph.nodes)}
        nodes = []
        for node in graph.nodes:
            attributes = {
                key: attr_value_pb2.AttrValue(s=str(value).encode()) for key, value in node.op.attributes().items()
            }
            inputs = [called[name] for name in node.inputs]
            nodes.append(node_def_pb2.NodeDef(name=called[node.name], op=node.op.kind, input=inputs, attr=attributes))
        made = graph_pb2.GraphDef(node=nodes, versions=versions_pb2.VersionDef(producer=22))
        self._open.add_event(event_pb2.Event(wall_time=self._time, graph_def=made.SerializeToString()))
