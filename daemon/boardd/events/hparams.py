"""Hyperparameters of a run, as TensorBoard's hparams plugin reads them.

Everything lies in the metadata of three tags (tensorboard/plugins/hparams/
summary_v2.py): what hyperparameters and metrics there are, the values that this
run has, and how it ended. TensorBoard takes the list of hyperparameters and
metrics from one run of a logdir, so the runs to be compared should have the
same. If no run has the list, TensorBoard takes all that there are.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Final

import numpy as np
from boardd_protos.tags import HPARAMS_TAG
from google.protobuf.struct_pb2 import ListValue, Value

from boardd.events.event_pb2 import Summary
from boardd.events.plugins_pb2 import (
    DATA_TYPE_BOOL,
    DATA_TYPE_FLOAT64,
    DATA_TYPE_STRING,
    STATUS_SUCCESS,
    Experiment,
    HParamInfo,
    HParamsPluginData,
    HParamType,
    MetricInfo,
    MetricName,
    SessionEndInfo,
    SessionStartInfo,
)
from boardd.events.tensors import plugin_value, tensor_proto

#: Names that the plugin defines (tensorboard/plugins/hparams/metadata.py).
PLUGIN: Final = "hparams"
EXPERIMENT_TAG: Final = "_hparams_/experiment"
SESSION_END_INFO_TAG: Final = "_hparams_/session_end_info"

HParam = bool | float | str


def hparams_values(
    hparams: Mapping[str, HParam],
    metrics: Collection[str],
    domains: Mapping[str, Iterable[HParam]] | None = None,
    *,
    session_secs: float = 0.0,
) -> list[Summary.Value]:
    """The values of a run's hyperparameters, to be written in one event of that run.

    ``metrics`` are tags of scalars in the same run; without any, and without domains, the
    run lists nothing, so that all of its scalars are metrics. ``domains`` lists the values
    that a hyperparameter may have, all of one type. ``session_secs`` is when the
    session began, and ended successfully, in seconds since the epoch; 0 if
    that is not to be shown.

    A number that is not finite is stored as its text, since the plugin fails
    for all runs at one (protobuf's JSON has no such numbers).
    """
    infos = {name: HParamInfo(name=name, type=_type(value)) for name, value in hparams.items()}
    for name, values in (domains or {}).items():
        domain = list(values)
        if not domain:
            continue
        # A domain names the type even if this run has no such hyperparameter.
        info = infos.setdefault(name, HParamInfo(name=name, type=_type(domain[0])))
        info.domain_discrete.CopyFrom(ListValue(values=map(_value, domain)))
    experiment = Experiment(
        hparam_infos=infos.values(),
        metric_infos=[MetricInfo(name=MetricName(tag=tag)) for tag in metrics],
    )
    start = SessionStartInfo(start_time_secs=session_secs)
    for name, value in hparams.items():
        start.hparams[name].CopyFrom(_value(value))
    end = SessionEndInfo(status=STATUS_SUCCESS, end_time_secs=session_secs)
    session = [
        _metadata_value(HPARAMS_TAG, HParamsPluginData(session_start_info=start)),
        _metadata_value(SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=end)),
    ]
    if not metrics and not domains:
        return session
    return [_metadata_value(EXPERIMENT_TAG, HParamsPluginData(experiment=experiment)), *session]


def _metadata_value(tag: str, data: HParamsPluginData) -> Summary.Value:
    # The tensor says nothing, but a value without one is no series to TensorBoard.
    nothing = tensor_proto(np.zeros((), np.float32))
    return plugin_value(tag, nothing, PLUGIN, data.SerializeToString(deterministic=True))


def _type(value: HParam) -> HParamType:
    kind = _value(value).WhichOneof("kind")
    return {"bool_value": DATA_TYPE_BOOL, "number_value": DATA_TYPE_FLOAT64}.get(
        kind, DATA_TYPE_STRING
    )


def _value(value: HParam) -> Value:
    if isinstance(value, bool):
        return Value(bool_value=value)
    if isinstance(value, str):
        return Value(string_value=value)
    if math.isfinite(value):
        return Value(number_value=value)
    return Value(string_value=str(float(value)))
