"""Experiments and their reports in the form that callers get, over HTTPS and from the command line."""

from __future__ import annotations

import math

from core.api.answers import rfc3339
from core.api.experiment_schemas import ExperimentOut, ReportedOut, ReportOut
from core.experiments.experiment import Experiment
from core.flows.experiments import Report, Reported


def experiment_out(experiment: Experiment) -> ExperimentOut:
    """An experiment with its times as RFC 3339, None for what has not happened yet."""
    started, stopped = experiment.started_at, experiment.stopped_at
    return {
        "name": experiment.name,
        "status": str(experiment.status),
        "description": experiment.description,
        "metric": experiment.metric,
        "traffic": experiment.traffic,
        "allocation": str(experiment.allocation),
        "variants": [
            {"name": variant.name, "weight": variant.weight, "overrides": dict(variant.overrides)}
            for variant in experiment.variants
        ],
        "created_at": rfc3339(experiment.created_at),
        "started_at": None if started is None else rfc3339(started),
        "stopped_at": None if stopped is None else rfc3339(stopped),
    }


def report_out(report: Report) -> ReportOut:
    """A report with what is None for the control, and with bounds that are not finite as None."""
    return {
        "experiment": experiment_out(report.experiment),
        "metric": report.metric,
        "variants": [_reported(one) for one in report.variants],
        "split_p_value": report.split_p_value,
        "mismatch": report.mismatch,
        "decision": report.decision,
    }


def _reported(one: Reported) -> ReportedOut:
    outcome, against = one.outcome, one.against_control
    return {
        "variant": outcome.variant,
        "weight": one.weight,
        "users": outcome.users,
        "converted": outcome.converted,
        "rate": outcome.rate,
        "rate_low": one.rate_interval[0],
        "rate_high": one.rate_interval[1],
        "mean": outcome.mean,
        "chance_to_be_best": one.best,
        "effect": against.effect if against else None,
        "effect_low": _finite(against.low) if against else None,
        "effect_high": _finite(against.high) if against else None,
        "relative_effect": against.relative if against else None,
        "p_value": against.p_value if against else None,
        "verdict": against.verdict if against else None,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
