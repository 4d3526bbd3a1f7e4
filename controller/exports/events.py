"""A run as TensorBoard's events: scalars of each trial, and what its HParams plugin needs. Imports tensorboard.

HParams is a plugin of TensorBoard: an experiment says which parameters and metrics there are, a session is one run of
a trainer. Here a session is a trial, and the seeds of a configuration are a session group, whose metrics it averages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Literal

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import (
    DATA_TYPE_FLOAT64,
    DATA_TYPE_STRING,
    STATUS_FAILURE,
    STATUS_SUCCESS,
    Experiment,
    HParamInfo,
    MetricInfo,
    MetricName,
)
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo

from controller.exports.values import Value, scalars_of
from job.contract.documents import EvaluationRecord, StepRecord

__all__ = ["experiment_events", "session_events"]

_VERSION = "brain.Event:2"  # every event file starts with it


def experiment_events(
    *, name: str, at: datetime, values: Sequence[Mapping[str, Value]], metrics: Sequence[str]
) -> Iterator[Event]:
    """What HParams has to know before any session: parameters with their values, and the tags of metrics."""
    paths = dict.fromkeys(path for one in values for path in one)
    experiment = Experiment(
        name=name,
        time_created_secs=at.timestamp(),
        hparam_infos=[_parameter(path, [one[path] for one in values if path in one]) for path in paths],
        metric_infos=[MetricInfo(name=MetricName(tag=tag)) for tag in metrics],
    )
    yield Event(wall_time=at.timestamp(), file_version=_VERSION)
    yield _told(metadata.EXPERIMENT_TAG, HParamsPluginData(experiment=experiment), at=at)


def session_events(
    records: Sequence[StepRecord | EvaluationRecord],
    *,
    values: Mapping[str, Value],
    group: str,
    began: datetime,
    ended: datetime,
    state: Literal["succeeded", "failed"],
) -> Iterator[Event]:
    """One trial. A record has no time of its own, so all scalars have that of the end; a baseline is no session."""
    yield Event(wall_time=began.timestamp(), file_version=_VERSION)
    if values:
        start = SessionStartInfo(group_name=group, start_time_secs=began.timestamp())
        for path, value in values.items():
            if isinstance(value, str):
                start.hparams[path].string_value = value
            else:
                start.hparams[path].number_value = value
        yield _told(metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=start), at=began)
    for record in records:
        for tag, number in scalars_of(record):
            value = Summary.Value(tag=tag, simple_value=number)
            yield Event(wall_time=ended.timestamp(), step=record.step, summary=Summary(value=[value]))
    if values:
        status = STATUS_SUCCESS if state == "succeeded" else STATUS_FAILURE
        end = SessionEndInfo(status=status, end_time_secs=ended.timestamp())
        yield _told(metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=end), at=ended)


def _parameter(path: str, found: Sequence[Value]) -> HParamInfo:
    numeric = all(not isinstance(value, str) for value in found)
    info = HParamInfo(name=path, type=DATA_TYPE_FLOAT64 if numeric else DATA_TYPE_STRING)
    info.domain_discrete.extend(sorted(set(found), key=lambda value: (isinstance(value, str), value)))
    return info


def _told(tag: str, told: HParamsPluginData, *, at: datetime) -> Event:
    about = metadata.create_summary_metadata(told)
    value = Summary.Value(tag=tag, metadata=about, tensor=metadata.NULL_TENSOR)
    return Event(wall_time=at.timestamp(), summary=Summary(value=[value]))
