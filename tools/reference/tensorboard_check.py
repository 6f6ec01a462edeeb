"""Reads event files with TensorBoard's own reader.

    tensorboard_check.py DIRECTORY            prints every scalar as: tag step value
    tensorboard_check.py --golden FILE.json   writes the bytes that TensorFlow's protobufs give for the events of
                                              tests/golden/test_events.c
"""
import json
import struct
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto import event_pb2
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c


def record(event):
    data = event.SerializeToString()
    length = struct.pack("<Q", len(data))
    crc = lambda b: struct.pack("<I", masked_crc32c(b))
    return length + crc(length) + data + crc(data)


def golden(path):
    events = [event_pb2.Event(wall_time=1700000000.25, file_version="brain.Event:2")]
    start = event_pb2.Event(wall_time=1700000000.25, step=300)
    start.session_log.status = event_pb2.SessionLog.START
    events.append(start)
    for step, tag, value in [(300, "loss/train", 4.75), (1 << 33, "learning_rate", 0.0005), (301, "ü", float("inf"))]:
        event = event_pb2.Event(wall_time=1700000001.5, step=step)
        event.summary.value.add(tag=tag, simple_value=value)
        events.append(event)
    with open(path, "w") as file:
        json.dump({"tensorboard": __import__("tensorboard").__version__, "bytes": b"".join(map(record, events)).hex()}, file)
        file.write("\n")


def show(directory):
    accumulator = EventAccumulator(directory)
    accumulator.Reload()
    for tag in accumulator.Tags()["scalars"]:
        for scalar in accumulator.Scalars(tag):
            print(tag, scalar.step, "%.9g" % scalar.value)


if sys.argv[1] == "--golden":
    golden(sys.argv[2])
else:
    show(sys.argv[1])
