"""An event file as TensorBoard's own RecordWriter and protobufs write it, with fixed times.

Run: python tests/golden/make_tensorboard.py   (tensorboard 2.x)
"""
import pathlib

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

HERE = pathlib.Path(__file__).parent
STEPS = {
    0: [],
    1: [("objective/kl", 0.25), ("objective/scores", -1.5)],
    300: [("lr", 1e-05), ("val/ratio", float("nan")), ("größe", 0.0)],
    2**40: [("loss", 1e30)],
}

if __name__ == "__main__":
    with open(HERE / "tensorboard.tfevents", "wb") as file:
        writer = RecordWriter(file)
        writer.write(
            event_pb2.Event(wall_time=1700000000.5, file_version="brain.Event:2").SerializeToString()
        )
        for i, (step, metrics) in enumerate(STEPS.items()):
            values = [summary_pb2.Summary.Value(tag=t, simple_value=v) for t, v in metrics]
            event = event_pb2.Event(
                wall_time=1700000001.25 + i, step=step, summary=summary_pb2.Summary(value=values)
            )
            writer.write(event.SerializeToString())
