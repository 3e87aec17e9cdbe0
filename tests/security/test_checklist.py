"""The security checklist: every item has tests, and the tests named here exist."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
CHECKLIST = {
    "tokens: signature, issuer, audience, expiry, algorithm, key confusion": (
        "api/test_auth.py::test_what_the_issuer_did_not_sign_for_us_is_refused",
        "functions/test_security.py::test_no_route_accepts_a_forged_token",
    ),
    "without configuration everybody is refused": (
        "api/test_auth.py::test_without_configuration_everybody_is_refused",
    ),
    "the user is the token's subject, never the body's": (
        "functions/test_security.py::test_no_route_answers_about_somebody_else",
        "api/test_auth.py::test_only_a_service_speaks_for_others",
    ),
    "administrators' routes need their role": (
        "functions/test_experiments_endpoint.py::test_only_administrators_plan_and_judge",
        "functions/test_metrics_endpoint.py::test_administrators_get_the_metrics_and_nobody_else",
    ),
    "no route is open by accident": ("security/test_source.py::test_every_route_but_health_proves_its_caller",),
    "the laptop's signer works nowhere else": (
        "api/test_auth.py::test_the_laptops_secret_opens_nothing_in_the_cloud",
        "api/test_auth.py::test_no_local_token_is_signed_where_a_deployment_is_configured",
    ),
    "pushes: OIDC audience and account": (
        "api/test_auth.py::test_only_the_push_service_account_may_push",
        "api/test_auth.py::test_another_signature_than_cloud_runs_marker_is_still_verified",
        "functions/test_status_codes.py::test_pushes_are_refused_in_the_cloud_without_configuration",
    ),
    "oversized, deep, non-finite and malformed bodies": ("functions/test_security.py::test_no_body_breaks_a_route",),
    "the whole API fuzzed from its description": (
        "functions/test_openapi.py::test_whatever_fits_the_schema_is_answered_as_described",
        "functions/test_openapi.py::test_whatever_does_not_fit_is_refused_as_described",
    ),
    "SQL injection": (
        "functions/test_security.py::test_sql_in_an_id_is_an_id",
        "security/test_source.py::test_statements_are_bound_and_never_put_together_from_values",
    ),
    "key injection": ("functions/test_security.py::test_no_id_reaches_another_users_keys",),
    "log injection": ("functions/test_security.py::test_a_log_line_stays_one_line_whatever_is_asked_for",),
    "no ids, vectors or secrets in logs and answers": (
        "functions/test_security.py::test_logs_name_neither_users_nor_their_data",
        "functions/test_security.py::test_answers_and_refusals_tell_no_secrets",
        "security/test_source.py::test_no_log_line_has_a_field_for_what_must_not_be_told",
        "stack/test_erasure.py::test_no_store_queue_object_or_log_holds_the_id_afterwards",
    ),
    "corrupted blobs in the hot store": (
        "functions/test_security.py::test_a_corrupted_copy_is_replaced_or_left_out_and_never_obeyed",
        "security/test_blobs.py::test_a_state_with_a_flipped_bit_is_refused",
        "security/test_blobs.py::test_an_adapter_with_a_flipped_bit_is_refused",
    ),
    "corrupted blobs in the cold store": (
        "functions/test_status_codes.py::test_a_corrupt_state_is_a_cold_start_that_says_so_until_the_next_event",
        "flows/test_retention.py::test_a_damaged_state_is_rebuilt_from_the_checkpoint",
    ),
    "corrupted snapshots and models": (
        "snapshot/test_publish.py::test_a_damaged_download_is_refused_and_leaves_nothing",
        "embedding/test_encoder.py::test_a_damaged_model_folder_is_refused",
        "embedding/test_encoder.py::test_a_manifest_cannot_name_files_elsewhere",
    ),
    "nothing is unpickled": (
        "security/test_source.py::test_nothing_is_unpickled_or_evaluated",
        "security/test_source.py::test_arrays_are_never_loaded_with_objects",
    ),
    "an event counts once, an adapter is saved by compare-and-set": (
        "stack/test_outages.py::test_an_outage_loses_nothing_and_every_answer_says_what_it_is",
        "stack/test_outages.py::test_two_outages_at_once_lose_nothing_either",
    ),
    "poison is kept apart, dead letters go back": (
        "api/test_events.py::test_a_poison_message_is_kept_whole_with_the_reason",
        "flows/test_redeliver.py::test_dead_letters_go_back_to_their_topic_as_they_were",
    ),
    "every store has a time-out below the request's": (
        "functions/test_deadlines.py::test_with_everything_hung_popularity_is_left_and_costs_the_timeouts_once",
        "functions/test_deadlines.py::test_a_hung_broker_costs_one_timeout_and_is_then_refused_at_once",
        "contracts/test_postgres_outages.py::test_a_hung_server_is_reported_within_the_timeout",
    ),
    "rates per user and route, training not in a loop": (
        "functions/test_limits.py::test_who_calls_too_often_gets_a_429_that_says_when_to_come_again",
        "functions/test_limits.py::test_training_cannot_be_asked_for_in_a_loop",
    ),
    "caches and counters are bounded": (
        "security/test_bounds.py::test_made_up_titles_are_kept_in_the_log_and_not_in_the_counters",
        "security/test_bounds.py::test_every_key_of_the_hot_store_ends_by_itself",
        "security/test_bounds.py::test_an_instance_holds_the_strongest_patterns_and_knows_how_many_there_are",
    ),
    "an erasure leaves nothing and nothing brings the user back": (
        "stack/test_erasure.py::test_no_store_queue_object_or_log_holds_the_id_afterwards",
        "stack/test_erasure.py::test_events_that_come_after_the_erasure_leave_nothing",
        "functions/test_erase.py::test_writers_that_began_before_the_erasure_are_waited_for",
        "functions/test_erase.py::test_a_tombstone_outlives_its_key_while_the_old_one_is_known",
    ),
    "old events go, behind a checkpoint": (
        "flows/test_retention.py::test_a_replay_from_the_checkpoint_gives_the_stored_state_byte_for_byte",
    ),
    "every workload has the rights in SQL that it needs": (
        "contracts/test_migrate.py::test_the_migration_gives_every_workload_the_rights_it_needs_and_no_more",
    ),
}


@pytest.mark.parametrize("item", CHECKLIST)
def test_every_item_has_its_tests(item: str) -> None:
    for named in CHECKLIST[item]:
        file, _, name = named.partition("::")
        defined = {
            node.name for node in ast.parse((TESTS / file).read_text()).body if isinstance(node, ast.FunctionDef)
        }
        assert name in defined, named
