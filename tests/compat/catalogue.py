# ruff: noqa: E501 - a table
"""What App Engine's deferred library and task queue do, what deferq does in its place, and the tests that show it.

`docs/reference/appengine.md` is made of FACTS, and the table of differences in `docs/howto/leave-app-engine.md` of
DIFFERENCES. A test is a file and a function.
"""

from __future__ import annotations

from typing import NamedTuple


class Fact(NamedTuple):
    """A name or a behaviour of the original that is kept. `where` is the part of the page it stands in."""

    where: str
    what: str
    tests: tuple[str, ...]


class Difference(NamedTuple):
    """What is otherwise on purpose."""

    there: str
    here: str
    tests: tuple[str, ...]


def of(file: str, *functions: str) -> tuple[str, ...]:
    return tuple(f"compat/{file}.py::test_{function}" for function in functions)


def names(*functions: str) -> tuple[str, ...]:
    return of("test_deferred_names", *functions)


def defer(*functions: str) -> tuple[str, ...]:
    return of("test_deferred_defer", *functions)


def handler(*functions: str) -> tuple[str, ...]:
    return of("test_deferred_handler", *functions)


def large(*functions: str) -> tuple[str, ...]:
    return of("test_deferred_large", *functions)


def draining(*functions: str) -> tuple[str, ...]:
    return of("test_deferred_draining", *functions)


def wrapping(*functions: str) -> tuple[str, ...]:
    return of("test_deferred_wrapping", *functions)


def transactions(*functions: str) -> tuple[str, ...]:
    return of("test_deferred_transactions", *functions)


def same(*functions: str) -> tuple[str, ...]:
    return of("test_taskqueue_black_box", *functions)


def sent(*functions: str) -> tuple[str, ...]:
    return of("test_taskqueue_delivering", *functions)


def pulled(*functions: str) -> tuple[str, ...]:
    return of("test_taskqueue_pulling", *functions)


def joined(*functions: str) -> tuple[str, ...]:
    return of("test_taskqueue_transactions", *functions)


def file(*functions: str) -> tuple[str, ...]:
    return of("test_queue_yaml", *functions)


def applied(*functions: str) -> tuple[str, ...]:
    return of("test_queue_yaml_applied", *functions)


ASKED = of("ndb/test_against_google", "ours_answers_as_googles_does_but_for_what_is_meant")
TASKS = same("tasks_and_retry_options_come_to_the_same")
QUEUES, STORIES = same("queues_come_to_the_same"), same("several_steps_come_to_the_same")

# fmt: off
NAMES, DEFERRED, KEYWORDS, HANDLER = "Names of `deferred`", "What can be deferred", "Keywords of `defer`", "The handler"
LARGE, WRAP, API, NUMBERS = "Large calls", "`wrap_wsgi_app`", "`taskqueue`", "Numbers"
PUSH, PULL, YAML, BACKOFF = "Requests", "Pull queues", "`queue.yaml`", "Retries"

FACTS = [
    # ---- 1.1
    Fact(NAMES, "`Error`, `PermanentTaskFailure(Error)`, `SingularTaskFailure(Error)`, which take anything", names("the_errors_stand_in_app_engines_tree_and_in_deferqs", "an_error_takes_anything_and_keeps_it") + ASKED),
    Fact(NAMES, "`defer(obj, *args, **kwargs)` returns the added `taskqueue.Task`", names("a_function_has_app_engines_signature") + defer("defer_returns_the_task_that_was_added")),
    Fact(NAMES, "`serialize(obj, *args, **kwargs)` is a bare pickle of `(callable, args, kwargs)`", names("a_function_has_app_engines_signature", "a_serialized_call_is_a_bare_pickle_of_a_triple") + ASKED),
    Fact(NAMES, "`run(data)` returns the callable's value; what cannot be restored, or is no triple, is `PermanentTaskFailure(e)`; the callable's own errors pass through", names("run_returns_what_the_callable_returns", "what_cannot_be_restored_is_a_permanent_failure_with_its_cause", "the_callables_own_errors_pass_through_run") + ASKED),
    Fact(NAMES, "`run_from_datastore(key)` loads and runs what was too large", large("a_large_call_runs_and_people_see_what_it_calls")),
    Fact(NAMES, "`invoke_member(obj, membername, *args, **kwargs)`", names("invoke_member_calls_a_method_by_its_name")),
    Fact(NAMES, "`set_log_level(log_level)`; `logging.INFO` unless it is set", handler("the_level_is_info_unless_it_is_set", "one_line_with_app_engines_headers_is_logged_at_the_level_that_was_set")),
    Fact(NAMES, "`Handler` with `run_from_request`, `post` and `__call__`, may be subclassed; `TaskHandler` is another name; `application` is one, and `asgi_application` its like for ASGI", names("the_handler_has_app_engines_methods_and_application_is_one") + handler("a_handler_can_be_subclassed_as_in_googles_documentation") + of("apps/test_apps", "a_subclass_of_the_handler_works_around_the_task")),
    Fact(NAMES, "`deferred.deferred` has the private names: `_DeferredTaskEntity`, `_curry_callable`, `_DEFAULT_URL`, `_DEFAULT_QUEUE`, `_TASKQUEUE_HEADERS`", names("the_private_names_that_are_relied_on_are_in_the_module") + ASKED),
    Fact(NAMES, "The package shows `http`, `logging`, `os`, `pickle`, `taskqueue` and `types`; `db`, which there is none of, and `main()` are left out", names("the_modules_that_the_package_shows_are_shown", "main_is_left_out_and_it_is_said_what_to_do")),
    Fact(NAMES, "Names of Google's modules inside pickles are found, wherever its library is not installed; ours are written under our module", draining("a_body_of_googles_library_runs", "every_spelling_of_googles_module_is_ours") + names("methods_are_written_under_our_module") + of("ndb/test_against_google", "bodies_that_googles_library_has_written_run_where_it_is_not_installed")),
    Fact(NAMES, "Pickle protocol 5; 0 with any text in `DEFERRED_USE_CROSS_COMPATIBLE_PICKLE_PROTOCOL`", names("any_text_in_the_variable_chooses_protocol_0", "the_old_protocol_does_as_well")),
    # ---- 1.2
    Fact(DEFERRED, "Bound methods and class methods are pickled as `invoke_member` with the object or class and the name", names("methods_are_pickled_by_their_names_and_everything_else_as_it_is") + ASKED),
    Fact(DEFERRED, "So are built-in methods of an object; one whose object is empty, or a module, is pickled as it is", names("built_in_callables_run_and_what_they_return_comes_back", "methods_are_pickled_by_their_names_and_everything_else_as_it_is") + ASKED),
    Fact(DEFERRED, "Functions, classes, instances with `__call__`, built-in functions and static methods are pickled as they are", names("what_is_serialized_can_be_run") + defer("whatever_can_be_deferred_runs_and_people_see_what_it_is") + ASKED),
    Fact(DEFERRED, "Nested functions and classes, lambdas and generators raise what pickle raises", names("what_pickle_cannot_find_again_raises_pickles_own_error", "a_generator_as_an_argument_is_a_type_error") + defer("nothing_is_stored_that_cannot_be_pickled")),
    Fact(DEFERRED, "What is not callable is `ValueError('obj must be callable')`", names("what_cannot_be_called_is_a_value_error")),
    # ---- 1.3
    Fact(KEYWORDS, "`_countdown`, in seconds; a negative one is taken", defer("countdown_is_in_seconds", "a_negative_countdown_is_now")),
    Fact(KEYWORDS, "`_eta`; with `_countdown` it is an `InvalidTaskError`, beyond 30 days an `InvalidEtaError`", defer("an_aware_eta_is_that_instant", "options_that_make_no_sense_are_the_task_queues_errors")),
    Fact(KEYWORDS, "`_name`; while its task lives another one is a `TaskAlreadyExistsError`, and afterwards a `TombstonedTaskError`", defer("a_name_is_the_tasks_name_and_a_task_without_one_gets_one", "a_name_is_taken_while_its_task_lives_and_afterwards")),
    Fact(KEYWORDS, "`_queue`; an unknown one is an `UnknownQueueError` where queues are declared", defer("a_queue_is_the_tasks_queue", "a_queue_is_unknown_only_where_queues_are_declared")),
    Fact(KEYWORDS, "`_target`", defer("a_target_is_the_tasks_route")),
    Fact(KEYWORDS, "`_url`: `/_ah/queue/deferred`, or a path of the application", defer("the_default_urls_mean_that_it_is_called", "another_url_is_a_path_to_which_it_is_delivered")),
    Fact(KEYWORDS, "`_headers` are merged over the default `Content-Type`", defer("headers_are_merged_over_the_default_and_the_callers_win")),
    Fact(KEYWORDS, "`_retry_options`", defer("retry_options_become_the_tasks_policy") + of("apps/test_apps", "retry_options_say_how_often_and_when")),
    Fact(KEYWORDS, "`_transactional`: outside a transaction `BadTransactionStateError`, with a name `InvalidTaskNameError`", transactions("a_call_is_there_when_its_transaction_has_committed", "outside_of_a_transaction_there_is_none_to_belong_to", "a_call_that_is_to_be_transactional_cannot_be_named")),
    Fact(KEYWORDS, "Five transactional tasks in one transaction, and no sixth", joined("a_sixth_task_in_one_transaction_is_refused")),
    Fact(KEYWORDS, "Everything else goes to the callable", defer("every_other_keyword_goes_to_the_callable", "a_plain_keyword_that_the_callable_does_not_take_shows_when_it_runs")),
    Fact(KEYWORDS, "Names and queue names that break the rules are `InvalidTaskNameError` and `InvalidQueueNameError`", defer("options_that_make_no_sense_are_the_task_queues_errors")),
    # ---- 1.4
    Fact(HANDLER, "Without a task name: the text about XSRF, 403, ERROR", handler("what_has_no_task_name_is_refused") + ASKED),
    Fact(HANDLER, "From another address than 0.1.0.2, and not on a development server: the text, 403, ERROR", handler("what_is_not_from_app_engines_queue_is_refused", "the_development_server_has_another_address") + ASKED),
    Fact(HANDLER, "A success: `Success`, 200, and one line of App Engine's headers", handler("a_task_of_app_engine_runs", "one_line_with_app_engines_headers_is_logged_at_the_level_that_was_set") + ASKED),
    Fact(HANDLER, "`SingularTaskFailure`: that word, 408, DEBUG, and tried again", handler("a_singular_failure_is_408_and_quiet") + ASKED),
    Fact(HANDLER, "`PermanentTaskFailure`, also for a body that is empty or cannot be restored: that word, 200, ERROR with the traceback", handler("a_permanent_failure_is_200_with_its_traceback_in_the_log", "a_body_that_cannot_be_restored_is_a_permanent_failure_and_kept_as_dead") + ASKED),
    Fact(HANDLER, "Any other error leaves `post` and `__call__`; the middleware logs it at ERROR and raises it again", handler("any_other_error_leaves_post_and_the_application") + wrapping("an_error_of_the_callable_is_logged_and_left_to_the_server")),
    Fact(HANDLER, "`post` and `run_from_request` return a text, an `http.HTTPStatus` and a list of pairs", handler("a_task_of_app_engine_runs") + ASKED),
    Fact(HANDLER, "`run_from_request` lets both failures out", handler("run_from_request_lets_both_failures_out")),
    # ---- 1.5
    Fact(LARGE, "`Task.size` is method, payload, url and headers; above 102,400 bytes `TaskTooLargeError`, and `defer` keeps the call beside its task", large("a_call_is_kept_beside_its_task_from_the_byte_on_that_app_engine_refuses", "a_task_of_the_task_queue_itself_raises")),
    Fact(LARGE, "Its payload is then a call of `run_from_datastore(key)`", large("the_task_of_a_large_call_fetches_it_by_its_key")),
    Fact(LARGE, "One that is not there is a `PermanentTaskFailure`", large("a_large_call_that_is_not_there_is_a_permanent_failure")),
    # ---- 1.6
    Fact(WRAP, "`wrap_wsgi_app(app, use_legacy_context_mode=True, use_deferred=False)`", names("wrap_wsgi_app_has_app_engines_signature_and_defaults") + wrapping("the_second_argument_is_accepted_and_changes_nothing")),
    Fact(WRAP, "With `use_deferred`, exactly `/_ah/queue/deferred` goes to `deferred.application`", wrapping("exactly_one_path_goes_to_the_library", "the_query_is_of_no_concern_and_other_methods_are_405")),
    Fact(WRAP, "`ndb` begins anew with each request", of("ndb/test_ndb_samples", "a_thread_that_runs_many_tasks_and_requests_reads_what_others_have_written")),
    Fact(WRAP, "Google's samples run with nothing but the import changed", of("ndb/test_ndb_samples", "the_counter_shows_10_then_20_then_30", "nothing_else_of_the_samples_is_changed")),
    # ---- 2.1
    Fact(API, "Every public name, with its signature", same("every_public_name_of_the_original_is_there", "numbers_and_signatures_are_the_same")),
    Fact(API, "`Task`: its keywords, properties and `extract_params()`; POST has a payload or params and no query, other methods have them in the query", TASKS),
    Fact(API, "Headers of namespaces and `Host`", TASKS + sent("headers_that_a_task_queue_or_http_sets_are_dropped")),
    Fact(API, "`Task.add` and `add_async`, `add`, `create_rpc`", QUEUES + STORIES),
    Fact(API, "`Queue`: `add`, `add_async`, `purge`, `delete_tasks`, `delete_tasks_by_name`, each with `_async`; of names that nobody has, `was_deleted` is False", QUEUES + STORIES + pulled("names_that_nobody_has_are_no_error", "a_purge_takes_what_waits_and_what_is_leased")),
    Fact(API, "`lease_tasks`, `lease_tasks_by_tag`, `modify_task_lease`", STORIES + pulled("a_lease_that_is_over_lets_others_have_the_task") + of("apps/test_apps", "clicks_are_leased_counted_and_deleted")),
    Fact(API, "`fetch_statistics` and `QueueStatistics.fetch`", QUEUES + pulled("statistics_tell_what_waits_runs_and_ran", "statistics_tell_the_rate_that_holds")),
    Fact(API, "`TaskRetryOptions`", TASKS),
    Fact(API, "The tree of errors", same("the_error_tree_is_the_same_and_all_of_it_deferqs", "an_error_is_made_of_nothing_or_of_a_message")),
    Fact(API, "A batch is not atomic unless it is transactional: each task gets its result, a real error is raised before a name that is taken, `was_enqueued` tells", STORIES + joined("what_keeps_one_out_keeps_out_all")),
    Fact(API, "`transactional=True` belongs to the open transaction, or is `BadTransactionStateError`", joined("a_task_is_there_when_its_transaction_has_committed", "a_rollback_takes_it_away", "outside_a_transaction_it_is_an_error_before_anything_else")),
    # ---- 2.2
    Fact(NUMBERS, "Names of tasks and of queues: 500 and 100 characters", TASKS + QUEUES),
    Fact(NUMBERS, "102,400 bytes for a task that is delivered, 1,048,576 for one that is pulled, and for a transactional request", TASKS + joined("more_than_a_mebibyte_in_one_call_is_refused")),
    Fact(NUMBERS, "2,083 bytes of url; 100 tasks in a call, 5 in a transaction, 1,000 leased at a time for a week at most; tags of 500", TASKS + QUEUES + pulled("a_thousand_are_leased_at_once") + joined("a_sixth_task_in_one_transaction_is_refused")),
    Fact(NUMBERS, "30 days ahead; a dispatch deadline of 15 s to 24 h", TASKS),
    Fact(NUMBERS, "100 queues from queue.yaml, 500 tasks a second from each", file("app_engine_takes_a_hundred_queues_and_its_default_one", "rates")),
    Fact(PUSH, "`X-AppEngine-QueueName`, `-TaskName`, `-TaskRetryCount`, `-TaskExecutionCount`, `-TaskETA`, and on retries `-TaskPreviousResponse` and `-TaskRetryReason`", sent("it_looks_like_app_engines_own_request", "anything_else_is_tried_again_until_the_limit") + of("apps/test_apps", "the_handler_sees_app_engines_headers_and_counts_retries_by_them")),
    Fact(PUSH, "Method, payload, params, url and headers are those of the task; without an url it goes to `/_ah/queue/<queue>`", sent("a_task_is_posted_with_its_payload_and_its_headers", "methods_without_a_body_have_their_params_in_the_query", "the_params_of_a_post_are_its_form", "without_an_url_it_goes_to_that_of_its_queue")),
    Fact(PUSH, "2xx is done, all else has failed", sent("2xx_is_done", "anything_else_is_tried_again_until_the_limit")),
    Fact(PUSH, "503 is told by a busy application, and it is left alone for a while", ("unit/test_answers.py::test_a_busy_view_says_when", "integration/test_push.py::test_a_base_that_is_busy_gets_its_rest_and_no_attempt_is_spent")),
    Fact(PULL, "Nobody delivers them; what is leased and not deleted comes again", pulled("workers_never_run_what_is_to_be_pulled", "a_lease_that_is_over_lets_others_have_the_task") + of("apps/test_apps", "what_is_leased_and_not_deleted_comes_again")),
    # ---- 2.3
    Fact(YAML, "A whole file, and `default` without being named", file("a_whole_file_is_read", "app_engine_has_a_default_queue_that_no_file_need_name")),
    Fact(YAML, "`rate` in tokens per second, minute, hour or day; `0` pauses; 5/s for `default`", file("rates", "a_queue_without_a_rate_gets_app_engines_and_that_is_said") + applied("two_hundred_tasks_start_as_the_file_says")),
    Fact(YAML, "`bucket_size`, `max_concurrent_requests`", file("sizes_of_buckets", "concurrency") + applied("no_more_run_at_a_time_than_the_file_says")),
    Fact(YAML, "`mode: pull`, which forbids a rate", file("a_mistake_is_told_with_its_line_and_column") + applied("a_pull_queue_of_the_file_is_pulled_from_and_takes_nothing_else")),
    Fact(YAML, "`retry_parameters`, and how a lone minimum or maximum moves the other", file("retry_parameters", "waits_are_those_of_app_engine")),
    Fact(YAML, "`target` is a route", file("targets_are_routes") + applied("tasks_have_the_policy_and_the_route_that_the_file_gives_their_queue")),
    Fact(YAML, "`acl` and `total_storage_limit` are read and refuse nothing; `resume_paused_queues`", file("what_means_nothing_for_a_pull_queue_is_said_and_passed_over", "total_storage_limit_is_read_and_refuses_nothing", "truth_in_every_spelling")),
    Fact(YAML, "A queue that the file names no more is disabled, and not deleted", ("cli/test_queues_load.py::test_a_queue_that_the_file_names_no_more_is_disabled_and_its_tasks_wait",)),
    Fact(BACKOFF, "Before retry n: `min(M, m * 2^e * (n - e))`, `e = min(n - 1, D)`, without jitter", file("waits_are_those_of_app_engine") + of("apps/test_apps", "retry_options_say_how_often_and_when")),
    Fact(BACKOFF, "With both limits a task is given up when both are spent; a limit of n retries is n + 1 attempts", ("unit/test_transitions.py::test_a_task_with_both_limits_goes_on_until_both_are_spent", *defer("retry_options_become_the_tasks_policy"))),
    Fact(BACKOFF, "The options of a task hold as a whole, instead of its queue's", applied("tasks_have_the_policy_and_the_route_that_the_file_gives_their_queue")),
]

DIFFERENCES = [
    Difference("Whoever sends two headers has a pickle of theirs run, wherever App Engine's front end does not stand in front", "Deliveries are signed, and nothing else is looked into. `trust_app_engine_headers` (`DEFERQ_TRUST_APP_ENGINE_HEADERS=1`) is App Engine's own check, for App Engine", handler("a_hand_made_pickle_with_spoofed_headers_is_never_restored", "the_setting_of_the_environment_counts")),
    Difference("`_url=None` is a `TypeError`", "It is the url of the queue, as it was documented", defer("the_default_urls_mean_that_it_is_called")),
    Difference("A naive `_eta` is the time of the machine", "It is UTC, with one warning", defer("a_naive_eta_is_utc_with_one_warning_wherever_the_machine_stands")),
    Difference("A misspelt option (`_contdown=3`) goes to the callable", "A `TypeError` at the call names the one that was meant", defer("a_misspelt_option_is_refused_with_the_one_that_was_meant", "an_underscore_that_the_callable_does_not_take_is_refused")),
    Difference("Other methods than POST break the server (500)", "405", handler("what_is_no_post_gets_a_405_that_leaves")),
    Difference("A body without `Content-Length` is read as empty, answered with 200, and lost", "400, and the task is tried again", handler("a_body_of_which_nobody_knows_the_length_is_400_and_not_lost", "a_signed_delivery_without_its_length_is_400_and_not_lost")),
    Difference("A large call is enqueued at once, whatever becomes of its transaction: it is lost, or runs for rows that do not exist", "Call and task are stored in the transaction, or not at all", transactions("neither_the_call_nor_what_stands_beside_it_outlives_a_rollback", "nobody_sees_the_call_before_the_commit")),
    Difference("What is kept of a large call may stay for ever", "It goes with its task; a name that is taken leaves nothing behind", large("a_large_call_goes_when_its_task_is_deleted", "a_name_that_is_taken_leaves_nothing_behind")),
    Difference("`run_from_datastore` returns None", "It returns what the callable returns", large("run_from_datastore_returns_what_the_callable_returns")),
    Difference("`wrap_wsgi_app` replaces `os.environ`, patches threads and collects responses", "It routes; responses stream", wrapping("nothing_is_patched_and_the_request_is_handed_on_as_it_is", "a_response_streams_and_is_closed_by_the_server_alone")),
    Difference("The callable learns nothing of its attempts", "`deferq.current_task()` has the attempt, the queue, the eta and the headers", defer("the_callable_learns_how_often_it_was_tried") + handler("the_callable_learns_which_task_it_is")),
    Difference("Retries without end; a task that fails for good, or that nobody can restore, is gone", "25 attempts unless somebody says otherwise; then the task is dead and kept with its errors for 30 days, and can be requeued", defer("without_retry_options_it_is_tried_25_times_and_then_kept_as_dead", "a_body_that_cannot_be_restored_is_kept_as_dead", "a_permanent_failure_ends_the_task_and_it_is_kept_as_dead")),
    Difference("WSGI alone", "ASGI as well: `wrap_asgi_app`, `Handler().post_async`, and the same requests", of("test_deferred_asgi", "a_delivery_is_answered_in_app_engines_words", "exactly_one_path_goes_to_the_library") + sent("an_asgi_application_gets_the_same_request") + of("apps/test_apps", "an_asgi_application_has_the_same_tasks")),
    Difference("A server that does not say what it is (`SERVER_SOFTWARE`) makes an error (500)", "It is no development server", handler("a_server_that_does_not_say_what_it_is_makes_no_error")),
    Difference("A function that the new version does not have makes the task be lost", "The task is parked until a release has it, and spends no attempt", defer("a_function_that_this_release_has_not_is_left_to_one_that_has")),
    Difference("A transaction takes a task only if `_transactional=True` says so", "One that is open on the store's database takes it; `_transactional=False` says no", transactions("who_says_that_it_belongs_to_none_stores_it_at_once", "a_call_is_there_when_its_transaction_has_committed")),
    Difference("Failures are of Google's classes alone", "They are deferq's, too: `except deferq.PermanentTaskFailure` catches both", defer("permanent_failures_are_one_class_for_both")),
    Difference("App Engine's front end strips its headers from requests of others", "Nobody does: `deferq.handler().is_genuine(request)` tells whether deferq has made a request", sent("the_application_can_tell_that_it_is_genuine", "a_view_can_ask_whether_it_is_genuine")),
    Difference("A call of more than about 1 MB cannot be deferred", "16 MiB can, or what the setting `payload_limit` says", large("a_call_beyond_the_stores_own_limit_is_refused_with_both_sizes")),
    Difference("A name stays taken for about 9 days after its task", "For 24 hours, or what the setting `tombstone_s` says", defer("a_name_is_taken_while_its_task_lives_and_afterwards")),
    Difference("A task ends after 10 minutes, or 24 hours", "It takes as long as it takes, unless it has a timeout (`dispatch_deadline_usec`)", handler("an_attempt_that_runs_past_its_timeout_has_failed")),
    Difference("`task_age_limit` counts from the first attempt", "It counts from when the task was first due, so waiting for a worker counts as well", ("unit/test_transitions.py::test_the_age_of_a_task_counts_from_when_it_was_first_due",)),
]
