"""Refuse a plan that would lose data: `terraform show -json plan.out | python infra/check_plan.py`.

Exit status 1, naming them, when something that holds what nobody can compute again is deleted or replaced.
"""

from __future__ import annotations

import json
import sys
from typing import Any

IRREPLACEABLE = {
    "google_pubsub_subscription",
    "google_pubsub_topic",
    "google_redis_instance",
    "google_secret_manager_secret",
    "google_sql_database",
    "google_sql_database_instance",
    "google_storage_bucket",
}


def lost(plan: dict[str, Any]) -> list[str]:
    """Addresses of irreplaceable resources that the plan (Terraform's JSON format) deletes, for good or to replace."""
    return [
        str(change["address"])
        for change in plan.get("resource_changes", [])
        if change["type"] in IRREPLACEABLE and "delete" in change["change"]["actions"]
    ]


if __name__ == "__main__":
    found = lost(json.load(sys.stdin))
    if found:
        sys.exit("the plan deletes " + ", ".join(found))
