"""The list: what users of other queues saw, what deferq promises instead, and where that is tested.

`docs/reference/failures.md` is made of it. Where a promise cannot be tried yet, it says what that waits for.
"""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """One failure. `reported` names the issue, or where else it was read; `tests` are files and functions."""

    number: int
    seen: str
    reported: str
    promise: str
    tests: tuple[str, ...] = ()
    waits_for: str = ""


HTTP = "delivery over HTTP"
POSTGRES = "the PostgreSQL engine"
SCHEDULES = "schedules"

FAILURES = [
    Row(
        1,
        "A worker died and its task was gone",
        "coleifer/huey#253, celery/celery#14",
        "A task stays until a final state is committed",
        (
            "process/test_children.py::test_children_killed_in_the_middle_of_ten_thousand_tasks_lose_none",
            "process/test_pulse.py::test_a_worker_killed_in_the_middle_of_many_tasks_leaves_none_behind",
            "process/test_processes_on_one_file.py::test_what_was_acknowledged_by_many_killed_processes_is_there",
            "storm/test_storm.py::test_a_storm_of_kills_loses_nothing_and_runs_nothing_twice_at_a_time",
        ),
    ),
    Row(
        2,
        "A worker killed for its memory had acknowledged its task all the same",
        "celery/celery#1628",
        "The death of a process is never a success",
        ("process/test_children.py::test_a_task_that_kills_its_process_dies_and_its_neighbours_live",),
    ),
    Row(
        3,
        "The task of a killed worker vanished although it had retries left",
        "rq/rq#2015",
        "A crash spends an attempt, and then the retry policy decides",
        (
            "unit/test_transitions.py::test_a_task_whose_worker_died_comes_after_backoff_with_an_attempt_spent",
            "process/test_children.py::test_a_payload_that_kills_whoever_reads_it_comes_to_an_end",
            "process/test_quarantine.py::test_it_dies_with_a_reason_that_a_person_understands",
        ),
    ),
    Row(
        4,
        "A task was running for weeks: the record of its dead worker was removed first, or a new one bore its name",
        "procrastinate-org/procrastinate#1518, oban-bg/oban#862, oban-bg/oban#364",
        "The lease stands on the task, and each start of a worker has a number of its own",
        (
            "catalogue/test_leases.py::test_a_task_is_rescued_whatever_became_of_the_record_of_its_worker",
            "unit/test_dispatcher.py::test_it_asks_for_as_many_tasks_as_would_start_at_once",
        ),
    ),
    Row(
        5,
        "The periodic task that rescues others was itself stalled",
        "procrastinate-org/procrastinate#1408",
        "Every worker rescues, in its own loop; rescuing is no task",
        (
            "unit/test_dispatcher.py::test_it_looks_for_stalled_tasks_first_of_all_and_then_now_and_then",
            "integration/test_worker.py::test_what_a_dead_worker_held_is_settled_by_another",
        ),
    ),
    Row(
        6,
        "A full page of tasks that could not be rescued hid those that could",
        "riverqueue/river#1318",
        "However much is leased, what is stalled is found",
        (
            "catalogue/test_leases.py::test_ten_thousand_long_leases_do_not_hide_one_that_is_over",
            "unit/test_dispatcher.py::test_stalled_tasks_that_still_run_here_do_not_hide_those_of_dead_workers",
        ),
    ),
    Row(
        7,
        "The rescuer restarted long tasks that were well",
        "riverqueue/river#1288, riverqueue/river#1331, janbjorge/pgqueuer#430",
        "A lease that is renewed is never rescued",
        (
            "catalogue/test_leases.py::test_a_task_may_take_a_hundred_leases",
            "conformance/test_fencing.py::test_a_lease_that_was_renewed_after_all_cannot_be_buried",
        ),
    ),
    Row(
        8,
        "A crash took hours to show",
        "python-arq/arq#343, python-arq/arq#407",
        "A task runs again a lease and a poll after its worker died, or at once if somebody can see the death",
        (
            "process/test_pulse.py::test_what_a_killed_worker_ran_runs_again_on_another_that_was_idle",
            "process/test_pulse.py::test_a_worker_that_starts_takes_over_what_its_killed_predecessor_ran",
            "storm/test_restart_after_death.py::test_where_the_pulse_cannot_tell_the_task_runs_again_after_the_lease_and_one_look",
        ),
    ),
    Row(
        9,
        "What ran when a worker was killed was aborted and not tried again",
        "tobymao/saq#127, tobymao/saq#118",
        "A rescued task follows its retry policy",
        ("conformance/test_fencing.py::test_a_task_whose_worker_was_lost_spends_an_attempt",),
    ),
    Row(
        10,
        "An exception from a signal handler lost one task in a million",
        "celery/celery#7339",
        "Handlers of signals set a flag and nothing else",
        (
            "process/test_signals.py::test_a_stop_lets_the_running_task_finish",
            "storm/test_sigterms.py::test_sigterms_at_random_moments_lose_no_task",
            "storm/test_sigterms.py::test_a_sigterm_at_any_moment_of_its_life_ends_a_worker_in_order",
        ),
    ),
    Row(
        11,
        "What a worker had fetched ahead was lost when it stopped",
        "celery/kombu#1836, janbjorge/pgqueuer#630",
        "A stop gives back at once what has not started",
        (
            "process/test_children.py::test_a_stop_lets_running_tasks_finish_and_gives_the_rest_back",
            "cli/test_worker_process.py::test_what_has_not_started_is_given_back",
        ),
    ),
    Row(
        12,
        "Rows that stayed `picked` filled a concurrency limit for ever",
        "janbjorge/pgqueuer#630, janbjorge/pgqueuer#474",
        "A limit counts leases, and every lease ends",
        (
            "conformance/test_limits.py::test_any_end_of_a_lease_frees_its_place",
            "conformance/test_limits.py::test_a_lease_that_is_over_keeps_its_place_until_its_task_is_rescued",
        ),
    ),
    Row(
        13,
        "A message was dropped because this version did not know its function",
        "getsentry/sentry#1665, doccano/doccano#2166, App Engine's handler",
        "What a worker does not know waits for one that does, and spends nothing",
        (
            "conformance/test_requeue_and_parking.py"
            "::test_a_task_whose_target_is_unknown_is_parked_without_spending_an_attempt",
            "process/test_children.py::test_a_task_of_an_unknown_target_is_parked",
        ),
    ),
    Row(
        14,
        "A payload that could not be read was acknowledged",
        "riverqueue/river#1324, App Engine's handler",
        "What cannot be read is dead, kept and visible",
        (
            "integration/test_corrupt_payloads.py::test_an_envelope_with_any_byte_changed_never_runs",
            "integration/test_corrupt_payloads.py::test_what_was_altered_dies_as_corrupt_and_is_kept",
        ),
    ),
    Row(
        15,
        "A task ran before the row it needed was committed, or survived a rollback",
        "netbox-community/netbox#18880, RealOrangeOne/django-tasks#189",
        "A task of a transaction exists if and only if it commits",
        (
            "process/test_transactions.py::test_rows_and_tasks_are_the_same_whoever_rolls_back_and_dies",
            "integration/test_transactions_django.py::test_a_task_shares_the_fate_of_an_atomic_block",
            "integration/test_transactions_sqlalchemy.py::test_a_worker_wakes_after_the_commit",
        ),
    ),
    Row(
        16,
        "Deferring timed out: was it stored or not?",
        "googleapis/google-cloud-node#4573",
        "Deferring again under the same name gives the same task",
        (
            "conformance/test_putting.py::test_the_same_task_put_once_more_counts_as_stored",
            "integration/test_api_calls.py::test_the_handle_of_the_task_that_has_the_name_can_be_asked_for",
            "faults/test_every_statement.py::test_a_fault_at_any_statement_changes_nothing_in_the_end",
            "faults/test_answers.py::test_a_lost_answer_of_a_commit_is_not_told_as_nothing_was_changed",
        ),
    ),
    Row(
        17,
        "A task for later than the visibility timeout came up to twenty times",
        "celery/celery#2599, celery/celery#3270, celery/kombu#337",
        "Nobody leases a task before it is due",
        (
            "catalogue/test_leases.py::test_a_task_for_next_year_is_leased_once_and_next_year",
            "conformance/test_leasing.py::test_a_task_is_leased_at_its_eta_and_not_before",
        ),
    ),
    Row(
        18,
        "A task of four hours was started four times",
        "pretix/pretix#2058, celery/celery#5935, Koed00/django-q#307",
        "A lease is renewed for as long as its worker lives",
        (
            "integration/test_worker.py::test_a_lease_is_renewed_as_long_as_its_task_runs",
            "catalogue/test_leases.py::test_a_task_may_take_a_hundred_leases",
        ),
    ),
    Row(
        19,
        "The failure of an old attempt overwrote the end of a newer one",
        "oban-bg/oban#532",
        "Who lost a lease changes nothing any more",
        (
            "conformance/test_fencing.py::test_a_late_failure_leaves_no_trace_in_the_newer_attempt",
            "simulation/test_simulation.py::test_an_engine_without_a_fence_is_caught",
            "storm/test_storm.py::test_a_storm_in_which_leases_run_out_lets_no_late_outcome_count",
        ),
    ),
    Row(
        20,
        "A finished task was marked failed as well",
        "rails/solid_queue#589",
        "There is one end to a lease",
        (
            "conformance/test_fencing.py"
            "::test_a_late_worker_cannot_settle_a_task_that_has_finished_under_a_newer_lease",
            "conformance/test_fencing.py::test_a_repeated_failure_counts_once",
        ),
    ),
    Row(
        21,
        "After a hiccup of the heartbeat eleven ran where one was allowed",
        "rails/solid_queue#761",
        "A place is a lease and no counter",
        (
            "conformance/test_limits.py::test_a_late_settlement_frees_no_place_a_second_time",
            "conformance/test_limits.py::test_threads_that_lease_at_once_never_hold_more_than_it_allows",
        ),
    ),
    Row(
        22,
        "After a kill a limit was lost, or full for ever",
        "rails/solid_queue#735, rails/solid_queue#546",
        "The place of a dead worker is free once its task is rescued",
        ("catalogue/test_leases.py::test_the_place_of_a_dead_worker_is_free_again",),
    ),
    Row(
        23,
        "Code in C silenced the heartbeat, and the task ran twice",
        "Bogdanp/dramatiq#692",
        "The parent renews, and no task can hold it up",
        (
            "process/test_children.py::test_a_task_that_holds_the_interpreter_lock_holds_up_nobody_else",
            "hostile/test_hostile_tasks.py::test_a_task_that_holds_the_interpreter_lock_for_three_leases_runs_once",
        ),
    ),
    Row(
        24,
        "Blocking code in a coroutine, and the sweep took the task",
        "tobymao/saq#209, python-arq/arq#408",
        "The same for coroutines: a child that is blocked keeps its leases",
        (
            "process/test_children.py::test_a_task_that_holds_the_interpreter_lock_holds_up_nobody_else",
            "hostile/test_hostile_tasks.py::test_a_coroutine_that_blocks_the_event_loop_does_not_hold_up_the_others",
        ),
    ),
    Row(
        25,
        "The heartbeat stopped during the shutdown, and the task ran again",
        "kagkarlsson/db-scheduler#365",
        "A worker renews until its last task has ended",
        ("catalogue/test_leases.py::test_a_worker_that_is_stopping_renews_what_still_runs",),
    ),
    Row(
        26,
        "A laptop slept, and its worker was taken for dead",
        "rails/solid_queue#337, rails/solid_queue#778",
        "Who slept through a lease starts nothing under it and learns that it is lost",
        (
            "process/test_pulse.py::test_the_tasks_of_a_worker_that_is_frozen_are_not_taken",
            "unit/test_pool.py::test_a_task_whose_lease_is_over_is_not_started",
            "conformance/test_fencing.py::test_renewing_tells_which_leases_are_lost",
            "storm/test_storm.py::test_a_storm_in_which_leases_run_out_lets_no_late_outcome_count",
        ),
    ),
    Row(
        27,
        "A delayed message was copied before it was acknowledged",
        "Bogdanp/dramatiq#431, Bogdanp/dramatiq#461",
        "A delayed task is not copied: it is one row with a time",
        ("conformance/test_leasing.py::test_every_task_of_a_large_batch_is_leased_exactly_once",),
    ),
    Row(
        28,
        "The deadline of a request was over, its handler went on, and the next attempt began",
        "googleapis/python-tasks#93, stackkit/laravel-google-cloud-tasks-queue#78",
        "A delivery takes the lease up, once; who runs the task keeps it, and a second delivery is told to wait",
        (
            "integration/test_http_handler.py::test_the_same_delivery_twice_in_parallel_runs_once",
            "integration/test_http_handler.py::test_no_other_attempt_begins_beside_one_whose_sender_has_gone",
            "process/test_raw_requests.py::test_the_same_delivery_to_several_processes_at_once_runs_once",
            "unit/test_keeper.py::test_what_runs_long_is_kept_whether_or_not_its_sender_lives",
        ),
    ),
    Row(
        29,
        "The lock of a unique job survived its killed worker for ever",
        "zoolutions/sidekiq-unique-jobs#304, zoolutions/sidekiq-unique-jobs#361, sidekiq/sidekiq#6890",
        "A name belongs to a task that lives, or to a tombstone with a date",
        (
            "conformance/test_names.py::test_a_tombstone_gives_the_name_free_when_its_time_is_over",
            "catalogue/test_leases.py::test_the_name_of_a_task_outlives_its_worker_and_not_the_task",
        ),
    ),
    Row(
        30,
        "Lists of the states in which a job counts as unique let duplicates through",
        "Oban's change log",
        "One set of states, and it is tested in all of them",
        ("catalogue/test_leases.py::test_in_every_state_a_name_is_taken_or_entombed",),
    ),
    Row(
        31,
        "A poisonous task killed worker after worker",
        "Bogdanp/dramatiq#213, taskiq-python/taskiq-aio-pika#35, OasisLMF/OasisPlatform#975",
        "From the third attempt on it runs alone; its attempts end, and the others go on",
        (
            "process/test_quarantine.py::test_a_poison_task_dies_with_its_report_and_a_thousand_others_finish",
            "process/test_children.py::test_a_payload_that_kills_whoever_reads_it_comes_to_an_end",
            "process/test_children.py::test_a_task_that_kills_its_process_dies_and_its_neighbours_live",
        ),
    ),
    Row(
        32,
        "One dead child ended all of them, with exit code 0",
        "Bogdanp/dramatiq#376, Bogdanp/dramatiq#505",
        "The dead child is replaced, and nobody else",
        (
            "unit/test_nursery.py::test_a_dead_child_is_buried_and_replaced",
            "unit/test_nursery.py::test_a_first_child_that_cannot_load_the_application_is_reaped_with_its_exit_code",
            "cli/test_worker_process.py::test_an_application_that_cannot_be_imported_is_exit_code_2",
        ),
    ),
    Row(
        33,
        "A child was killed while it held a pipe that all shared, and the pool stood still",
        "celery/billiard#457",
        "Children share no lock: each has a socket of its own",
        (
            "process/test_children.py::test_when_a_child_is_killed_what_it_had_started_runs_again_and_the_rest_is_not_spent",
            "storm/test_killed_while_reading.py::test_children_that_are_killed_while_they_read_hold_up_nobody",
        ),
    ),
    Row(
        34,
        "An exception or a result that cannot be pickled crashed the worker again and again",
        "celery/celery#6185, celery/celery#2943",
        "Errors are stored as text; a result that cannot be stored fails its task",
        (
            "unit/test_executor.py::test_a_message_that_cannot_be_made_is_said_to_be_so",
            "unit/test_executor.py::test_a_result_that_cannot_be_stored_fails_for_good_since_the_work_is_done",
            "hostile/test_hostile_tasks.py::test_hostile_tasks_come_to_the_end_that_is_foretold_and_the_others_finish",
        ),
    ),
    Row(
        35,
        "`sys.exit` in a task left a worker that did nothing",
        "cenkalti/kuyruk#66, celery/celery#1018",
        "Whatever a task raises fails its attempt",
        (
            "unit/test_executor.py::test_no_exception_of_a_task_reaches_the_worker",
            "unit/test_pool.py::test_a_task_that_ends_the_loop_with_a_stray_system_exit_does_not_end_the_pool",
        ),
    ),
    Row(
        36,
        "A time limit could not interrupt C code; one thread after the other was gone",
        "Bogdanp/dramatiq#211, Bogdanp/dramatiq#445, django-q2/django-q2#173",
        "A thread past its timeout ends with its child, and the place is free again",
        (
            "process/test_children.py"
            "::test_a_thread_that_runs_past_its_timeout_ends_with_its_child_once_its_siblings_have_ended",
        ),
    ),
    Row(
        37,
        "A child hung while it started, and was never replaced",
        "rails/solid_queue#751, rails/solid_queue#760",
        "A child has five minutes to load the application",
        ("unit/test_nursery.py::test_a_child_that_never_comes_to_the_end_of_its_start_is_replaced",),
    ),
    Row(
        38,
        "Arguments or chains of exceptions a hundred thousand deep",
        "a fixture of Solid Queue",
        "What is too deep is refused at the call; what is long is cut",
        (
            "unit/test_payload.py::test_very_deep_nesting_is_refused_and_no_recursion_error",
            "unit/test_executor.py::test_a_chain_of_10000_is_shown_by_its_last_links",
            "unit/test_executor.py::test_endless_recursion_is_described_by_its_last_frames",
        ),
    ),
    Row(
        39,
        "Scheduled tasks in memory: 80,000 of them were 8 GB",
        "celery/celery#9849, celery/celery#2218",
        "A worker's memory does not grow with what is stored",
        ("catalogue/test_bounds.py::test_tasks_for_later_take_no_memory_of_a_worker",),
    ),
    Row(
        40,
        "A slow leak, over days",
        "celery/celery#4843, bensheldon/good_job#1276",
        "Children can be replaced by count and by memory, and the worker itself does not grow",
        (
            "process/test_children.py::test_a_child_is_replaced_after_so_many_tasks",
            "process/test_children.py::test_a_child_that_takes_too_much_memory_is_replaced",
            "catalogue/test_bounds.py::test_a_worker_that_has_run_many_tasks_is_no_larger_than_before",
        ),
    ),
    Row(
        41,
        "Five million finished rows made counting and fetching slow",
        "riverqueue/river#746",
        "History is bounded, and no step of the work grows with it",
        (
            "unit/test_sqlite_plans.py::test_no_work_of_a_worker_or_a_caller_grows_with_what_is_stored",
            "unit/test_sqlite_plans.py::test_counting_takes_no_more_steps_than_the_cap_allows",
            "conformance/test_history_and_retention.py::test_finished_tasks_stay_for_their_retention",
        ),
    ),
    Row(
        42,
        "A payload larger than a notification may be aborted the insertion",
        "saurabhnanda/odd-jobs#42",
        "What wakes a worker carries no payload",
        waits_for=POSTGRES,
    ),
    Row(
        43,
        "A queue with a long name broke the notification and with it the insertion",
        "measured",
        "Names of channels are short, whatever the queue is called",
        waits_for=POSTGRES,
    ),
    Row(
        44,
        "A maintenance script hit a limit of its server, and workers idled for ever",
        "Bogdanp/dramatiq#258",
        "Maintenance goes in portions",
        (
            "conformance/test_expiry_and_cancelling.py::test_expired_tasks_are_swept_in_portions",
            "conformance/test_expiry_and_cancelling.py::test_purging_goes_in_portions",
            "conformance/test_requeue_and_parking.py::test_waking_reaches_every_parked_task_in_portions",
        ),
    ),
    Row(
        45,
        "`database is locked`, now and then",
        "coleifer/huey#445, rails/solid_queue#385, rails/solid_queue#309",
        "Writers take turns, and every write begins as one",
        (
            "process/test_processes_on_one_file.py"
            "::test_of_sixteen_processes_that_defer_beside_one_that_drains_none_is_starved",
            "integration/test_sqlite_log.py::test_whatever_takes_more_than_one_statement_begins_immediately",
        ),
    ),
    Row(
        46,
        "A fork with an open connection corrupted the file",
        "rails/solid_queue#324, sparklemotion/sqlite3-ruby#558",
        "A forked child opens its own connections, and leaves its parent's alone",
        (
            "integration/test_sqlite_forks.py::test_a_child_forked_while_threads_put_can_put_too",
            "integration/test_sqlite_forks.py::test_what_a_child_puts_stays_when_the_parent_closes_the_store",
        ),
    ),
    Row(
        47,
        "A race of checkpoints can corrupt a file with SQLite before 3.51.3",
        "SQLite's notes of March 2026",
        "Checkpoints run behind the gate, one at a time, and `deferq db info` and `deferq doctor` name the defect",
        (
            "integration/test_sqlite_log.py::test_a_checkpoint_runs_behind_the_gate",
            "integration/test_sqlite_log.py::test_no_connection_checkpoints_by_itself",
            "cli/test_store_and_settings.py::test_db_info_names_the_defect_of_old_sqlite",
        ),
    ),
    Row(
        48,
        "What was acknowledged was gone after a power cut",
        "Jepsen on NATS 2.12.1",
        "Acknowledged means on the disk, unless you say otherwise",
        (
            "integration/test_sqlite_log.py::test_durability_is_what_was_asked_for",
            "power/test_power_loss.py::test_what_was_answered_is_there_after_any_power_cut",
        ),
    ),
    Row(
        49,
        "A full disk: a loop without pause, and the error hidden by a rollback that failed too",
        "tinyhumansai/openhuman#3911, volcengine/OpenViking#4303",
        "The error is told with advice, work pauses, and goes on once there is space",
        (
            "integration/test_sqlite_trouble.py::test_a_full_disk_is_told_with_advice_and_costs_nothing_that_was_stored",
            "integration/test_sqlite_trouble.py::test_once_there_is_space_again_everything_goes_on",
            "faults/test_full_disk.py::test_a_full_disk_is_told_and_everything_goes_on_once_there_is_space",
            "process/test_disk.py::test_a_full_disk",
        ),
    ),
    Row(
        50,
        "A read-only database: an endless loop of errors",
        "Archmonger/Conreq#28",
        "It is told once, and asked about ever more seldom",
        (
            "integration/test_sqlite_trouble.py::test_a_file_that_may_not_be_written_is_told",
            "unit/test_dispatcher.py::test_a_store_that_answers_but_cannot_be_written_is_announced_once_and_left_in_peace",
            "faults/test_files_in_trouble.py::test_a_disk_that_is_read_only_is_told_and_used_once_it_is_writable",
        ),
    ),
    Row(
        51,
        "After a blip of the database the worker lived on and did nothing",
        "celery/celery#8030, celery/celery#10205, celery/celery#10302, Bogdanp/dramatiq#207, oban-bg/oban#821",
        "An outage ends by itself, and outcomes wait for its end",
        (
            "integration/test_worker.py::test_outcomes_are_kept_while_the_store_is_out_of_reach",
            "unit/test_dispatcher.py::test_an_outage_that_is_over_is_noticed_before_leases_run_out",
            "process/test_systemd.py::test_a_watched_worker_says_again_and_again_that_it_is_alive",
            "faults/test_worker_in_trouble.py::test_a_worker_outlives_its_disk",
        ),
    ),
    Row(
        52,
        "Listening never came back, and tasks were late without a word",
        "bensheldon/good_job#303, graphile/worker#541, oban-bg/oban#1499, taskforcesh/bullmq#4729, timgit/pg-boss#850",
        "Whoever is not woken looks by itself each second",
        (
            "catalogue/test_bounds.py::test_a_worker_whose_bell_nobody_rings_looks_each_second",
            "integration/test_sqlite_bells.py::test_a_folder_that_was_removed_costs_nobody_a_task",
        ),
    ),
    Row(
        53,
        "A notification was lost between looking and listening",
        "iopsystems/durable#66",
        "A bell remembers that it was rung",
        ("integration/test_sqlite_bells.py::test_a_bell_is_readable_until_what_was_rung_is_heard",),
    ),
    Row(
        54,
        "Half a minute of outage crashed the worker, or its shutdown hung for ever",
        "procrastinate-org/procrastinate#1116, procrastinate-org/procrastinate#1513",
        "An outage is waited for; a stop has an end, also during one",
        (
            "unit/test_dispatcher.py::test_settlements_survive_an_outage_and_it_is_announced_once",
            "catalogue/test_bounds.py::test_a_stop_has_an_end_although_the_store_is_out_of_reach",
            "process/test_disk.py::test_a_worker_can_be_stopped_while_its_store_is_gone",
        ),
    ),
    Row(
        55,
        "A stalled query blocked the scheduler until it was restarted",
        "riverqueue/river#1251, riverqueue/river#1255",
        "Every statement gives up after a time",
        (
            "integration/test_sqlite_trouble.py::test_a_program_that_keeps_the_write_lock_is_told",
            "integration/test_sqlite_log.py::test_after_a_checkpoint_a_foreign_lock_is_waited_for_as_long_as_before",
        ),
    ),
    Row(
        56,
        "A transaction left open elsewhere made the queue slower and slower",
        "NikolayS/PgQue#80, que-rb/que#297, hardbyte/awa#169",
        "A reader that stays holds up nobody, and the log is cut once it is gone",
        (
            "integration/test_sqlite_log.py::test_a_log_that_a_reader_held_open_is_cut_once_the_reader_is_gone",
            "integration/test_sqlite_log.py::test_the_log_stays_bounded_over_hundreds_of_megabytes_beside_a_reader",
        ),
        waits_for="for the vacuum of PostgreSQL: that engine",
    ),
    Row(
        57,
        "Notifications put all commits into one line",
        "a report of Recall.ai",
        "Waking is debounced, and never in the way of a commit",
        ("integration/test_sqlite_bells.py::test_a_dispatcher_that_never_listens_blocks_nobody",),
        waits_for="for NOTIFY: the PostgreSQL engine",
    ),
    Row(
        58,
        "A claim returned more rows than its limit",
        "procrastinate-org/procrastinate#103, a comment in Oban's source",
        "No more is leased than was wanted",
        (
            "conformance/test_leasing.py::test_no_more_is_leased_than_was_wanted",
            "conformance/test_concurrency.py::test_threads_that_lease_at_once_never_hold_the_same_task",
        ),
    ),
    Row(
        59,
        "A retry without bound stormed the database; a log of 986 GiB",
        "windmill-labs/windmill#9062, clice-io/clice#611",
        "Every loop pauses longer and longer, and an outage is announced once",
        (
            "unit/test_dispatcher.py::test_an_outage_is_asked_about_ever_more_seldom_up_to_a_minute",
            "unit/test_nursery.py::test_a_system_that_cannot_start_a_process_is_asked_again_later",
        ),
    ),
    Row(
        60,
        "A fleet of workers woke up in step",
        "Oban's note on jitter",
        "Polls, renewals and retries are spread",
        (
            "catalogue/test_bounds.py::test_a_hundred_idle_workers_do_not_look_in_step",
            "unit/test_transitions.py::test_jitter_spreads_a_wait_between_half_and_the_whole",
        ),
    ),
    Row(
        61,
        "A clock was set back, and the scheduler slept until it had caught up",
        "agronholm/apscheduler#351, quartznet/quartznet#3148, robfig/cron#480",
        "Waiting follows a clock that never jumps. What is deferred after the clock was set starts at once",
        (
            "catalogue/test_bounds.py::test_after_a_clock_was_set_back_what_is_deferred_then_starts_at_once",
            "simulation/test_simulation.py::test_no_promise_is_broken_on_sqlite",
        ),
    ),
    Row(
        62,
        "Summer time: twice, never, or an hour late",
        "celery/celery#1604, celery/celery#6438, celery/celery#9653, celery/celery#10107",
        "An occurrence is an instant in UTC, by a written rule",
        waits_for=SCHEDULES,
    ),
    Row(
        63,
        "Several schedulers made duplicates",
        "rq/rq#1354, rq/rq#2338, coleifer/huey#716, bensheldon/good_job#731, taskiq-python/taskiq#244",
        "One task for one occurrence, whoever makes it",
        waits_for=SCHEDULES,
    ),
    Row(
        64,
        "A leader without the plug-in: no schedule at all",
        "riverqueue/river#1161",
        "Any worker makes occurrences, and missed ones are seen",
        waits_for=SCHEDULES,
    ),
    Row(
        65,
        "A flood after a stop, or a schedule that repeats for ever",
        "django-q2/django-q2#273",
        "Of missed occurrences one is made up for",
        waits_for=SCHEDULES,
    ),
    Row(
        66,
        "Times without a zone were off by hours",
        "rq/rq#2352, python-arq/arq#185, Koed00/django-q#501",
        "A time without a zone is refused",
        ("integration/test_bad_input.py::test_bad_input_is_one_clear_error_and_nothing_is_stored",),
    ),
    Row(
        67,
        "Low priority starved; an old task waited an hour",
        "taskcluster/taskcluster#9131, multica-ai/multica#8551",
        "Queues share equally. Within a queue priority is strict, as documented",
        (
            "conformance/test_order_and_shares.py::test_queues_with_work_get_equal_shares",
            "conformance/test_order_and_shares.py::test_a_high_priority_in_one_queue_takes_nothing_from_another",
        ),
    ),
    Row(
        68,
        "A lock of the logging module was copied by a fork: silence after hours",
        "celery/celery#502, ansible/awx#4181, python/cpython#81610, getsentry/sentry-python#6149",
        "Children are started afresh and not forked",
        ("catalogue/test_bounds.py::test_a_child_is_a_fresh_process",),
    ),
    Row(
        69,
        "Mixed versions: a new field crashed the old worker",
        "rails/solid_queue#221, rq/rq#1357",
        "Fields of a newer release are passed over, and its envelopes wait for it",
        (
            "unit/test_task_model.py::test_fields_of_a_newer_deferq_are_passed_over",
            "unit/test_signing.py::test_a_newer_version_is_left_to_a_newer_deferq",
            "integration/test_sqlite_migrations.py::test_a_file_of_a_newer_release_is_refused_and_not_touched",
        ),
        waits_for="for two real releases side by side: the second one",
    ),
    Row(
        70,
        "A walk over a query forked: a step was repeated after the next one had been deferred",
        "ViUR's QueryIter",
        "A step and its successor are one commit",
        waits_for="iteration",
    ),
]
