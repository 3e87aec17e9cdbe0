"""Paths about experiments: planning and judging for administrators, assignments and conversions for everybody."""

from __future__ import annotations

import numpy as np
from pydantic import TypeAdapter

from core.api import experiment_schemas as schemas
from core.api.auth import administrator
from core.api.experiment_answers import experiment_out, report_out
from core.api.http import Call, Route
from core.api.metric_routes import METRIC_ROUTES
from core.api.routes import cold_store_probe, health
from core.flows.experiments import assignments, convert, create_experiment, move_experiment, rebalance, report


def answer_create(call: Call) -> schemas.ExperimentOut:
    """For administrators: plan an experiment. It is a draft until it is started."""
    return experiment_out(create_experiment(call.services, call.body.experiment(), call.now))


def answer_list(call: Call) -> schemas.ExperimentsOut:
    """For administrators: all experiments."""
    return {"experiments": [experiment_out(one) for one in call.services.experiments.all()]}


def answer_status(call: Call) -> schemas.ExperimentOut:
    """For administrators: start, pause or complete an experiment. A 409 when another one varies the same settings."""
    return experiment_out(move_experiment(call.services, call.body.name, call.body.wanted(), call.now))


def answer_report(call: Call) -> schemas.ReportOut:
    """For administrators: how the variants do, with intervals that hold however often one looks."""
    return report_out(report(call.services, call.body.name, call.body.metric or "", np.random.default_rng(0)))


def answer_rebalance(call: Call) -> schemas.RebalancedOut:
    """For administrators: give a bandit's variants their new shares of the users."""
    return {"weights": rebalance(call.services, call.body.name, np.random.default_rng())}


def answer_assignment(call: Call) -> schemas.AssignmentOut:
    """A user's variants of the running experiments; asking counts as no exposure."""
    user_id = call.user()
    variants, degraded = assignments(call.services, user_id, call.now)
    return {"user_id": user_id, "variants": variants, "degraded": degraded}


def answer_conversion(call: Call) -> schemas.ConversionOut:
    """Hand in something a user did that an experiment counts."""
    conversion = call.body.conversion(call.now)
    variant = convert(call.services, call.user(), conversion)
    return {"status": "accepted", "conversion_id": conversion.conversion_id, "variant": variant}


EXPERIMENT_ROUTES = {
    "/api/v1/experiments": {
        "GET": Route(answer_list, caller=administrator),
        "POST": Route(answer_create, TypeAdapter(schemas.ExperimentBody), 201, caller=administrator),
    },
    "/api/v1/experiments/status": {"POST": Route(answer_status, TypeAdapter(schemas.StatusBody), caller=administrator)},
    "/api/v1/experiments/report": {"POST": Route(answer_report, TypeAdapter(schemas.ReportBody), caller=administrator)},
    "/api/v1/experiments/rebalance": {
        "POST": Route(answer_rebalance, TypeAdapter(schemas.NamedBody), caller=administrator)
    },
    "/api/v1/experiments/assignment": {"POST": Route(answer_assignment, TypeAdapter(schemas.AssignmentBody))},
    "/api/v1/experiments/conversions": {
        "POST": Route(answer_conversion, TypeAdapter(schemas.ConversionBody), 202, limit="write")
    },
    **METRIC_ROUTES,
    "/health": {"GET": health("experiments", {"cold_store": cold_store_probe})},
}
