# ruff: noqa: E501 - a table
"""The list: what goes in that should not, what is answered, through which doors, and the tests that show it.

`docs/reference/bad-input.md` is made of it. Where something cannot be tried yet, it says what that waits for. A test is
a file and a function, or a case of it: the text in brackets stands in the name of a case.
"""

from __future__ import annotations

from typing import NamedTuple

CALL, COMMAND, HTTP, SOCKETS = "call", "command line", "WSGI, ASGI", "WSGI, ASGI, sockets"
STORE, SETTINGS, PUSH, ROW = "store", "settings", "push", "stored row"


class Row(NamedTuple):
    """One kind of bad input. `tests` are files and functions, or single cases."""

    number: int
    goes_in: str
    answer: str
    doors: str
    tests: tuple[str, ...] = ()
    waits_for: str = ""


def cases(function: str, *texts: str) -> tuple[str, ...]:
    return tuple(f"{function}[{text}]" for text in texts)


INPUT = "integration/test_bad_input.py::test_bad_input_is_one_clear_error_and_nothing_is_stored"
CALLS = "badinput/test_calls.py::test_bad_input_is_one_clear_error_and_nothing_happens"
CLI = "badinput/test_calls.py::test_the_command_line_refuses_it_too"
TARGETS = "badinput/test_stored.py::test_a_stored_target_that_is_not_allowed_is_not_even_imported"
BODIES = "badinput/test_stored.py::test_a_body_made_to_hurt_is_refused_before_it_is_read"
FORGED = "badinput/test_forged_requests.py::test_what_was_forged_is_refused_in_one_word"
BEHIND = "badinput/test_forged_requests.py::test_what_was_forged_is_refused_behind_a_server"
WIRE = "badinput/test_forged_requests.py::test_what_is_broken_on_the_wire_is_refused"
RAW = "process/test_raw_requests.py::test_what_is_broken_on_the_wire_runs_nothing"
REQUESTS = "integration/test_bad_requests.py::test_a_bad_request_is_refused"
CORRUPT = "integration/test_corrupt_payloads.py::test_what_was_altered_dies_as_corrupt_and_is_kept"
PARKED = "integration/test_corrupt_payloads.py::test_what_another_worker_may_know_is_parked_and_kept"
NOT_JSON = "strictjson/test_refusals.py::test_what_is_not_stored_is_named_with_its_path_and_the_fix"
NO_JSON = "strictjson/test_reading.py::test_what_breaks_the_rules_is_corrupt_and_the_error_says_where"
MALFORMED = "unit/test_targets.py::test_text_that_is_no_target_is_refused_without_an_import"
GADGETS = "unit/test_targets.py::test_a_target_outside_the_allow_list_is_refused_before_any_import"
INVALID_URL = "unit/test_urls.py::test_what_is_no_path_of_the_application_is_refused"
ABSOLUTE_URL = "unit/test_urls.py::test_an_absolute_url_is_refused_and_the_way_out_is_named"
BASES = "unit/test_push_bases.py::test_what_two_parsers_could_read_differently_is_refused"
PUSHED, FILES = "integration/test_push.py", "integration/test_files.py"
DASHBOARD, OIDC, CRON = "the dashboard", "OIDC, with Cloud Tasks", "schedules"

ROWS = [
    Row(1, "A lambda, a nested function, a partial of one", "NotDeferrable", CALL, cases(INPUT, "B1 ")),
    Row(2, "A function that the allow-list leaves out", "TargetNotAllowed; stored already: parked", f"{CALL}, {ROW}",
        (*cases(CALLS, "B2 a function", "B2 a built-in"), *cases(TARGETS, "B2 "))),
    Row(3, "`eval`, `os.system`, `builtins.eval`, `subprocess.run` as target", "TargetNotAllowed, nothing imported",
        f"{CALL}, {COMMAND}, {ROW}",
        (*cases(CALLS, "B3 eval"), *cases(CLI, "os:system", "builtins:eval", "subprocess:run"),
         *cases(TARGETS, "'eval'", "os:system", "builtins:eval", "subprocess:run"), *cases(GADGETS, "os:system"))),
    Row(4, "`app.tasks.os.system`, `__main__:x`, `app..tasks`, `app.tasks:__class__`", "TargetNotAllowed",
        f"{COMMAND}, {ROW}",
        (*cases(TARGETS, "app.tasks.os.system", "__main__:x", "app..tasks", "app.tasks:__class__"),
         *cases(MALFORMED, "app.tasks.os.system", "__main__:x", "app..tasks", "app.tasks:__class__"),
         *cases(CLI, "app.tasks.os.system", "__main__:x", "app..tasks", "__class__"))),
    Row(5, "A target of 10 kB, with NUL, a mark that turns the line around, a line break", "TargetNotAllowed, no echo",
        f"{COMMAND}, {ROW}",
        (*cases(TARGETS, "xxxx", "\\x00", "\\u202e", "\\n"), *cases(CLI, "B5 ", "\\x00", "\\u202e"))),
    Row(6, "A class that does something when it is made, as target", "TargetNotAllowed, not made",
        f"{CALL}, {COMMAND}, {ROW}",
        (*cases(CALLS, "B6 a class that", "B6 a class whose"), *cases(CLI, "B6 "), *cases(TARGETS, "Watchful", "Made"))),
    Row(7, "A file, socket, lock, generator, database row, module as argument", "NotSerializable with its path", CALL,
        (*cases(INPUT, "B7 "), *cases(NOT_JSON, "B7 open file", "B7 socket", "B7 lock", "B7 generator", "B7 module"),
         *cases(CALLS, "B7 a row"))),
    Row(8, "NaN, Infinity, 1e400, Decimal sNaN; strict JSON", "NotSerializable", CALL,
        (*cases(CALLS, "B8 NaN", "B8 Infinity", "B8 1e400", "B8 sNaN"), *cases(NOT_JSON, "B8 decimal infinity"))),
    Row(9, "Integers of 2^63 and of 5,000 digits; strict JSON", "NotSerializable; PayloadFormatError when read",
        f"{CALL}, {ROW}", (*cases(CALLS, "B9 2^63", "B9 5,000"), *cases(NO_JSON, "B9"))),
    Row(10, "Keys that are numbers, tuples, or twice the same; strict JSON", "NotSerializable; PayloadFormatError",
        f"{CALL}, {ROW}", (*cases(CALLS, "B10 an int", "B10 a tuple"), *cases(NO_JSON, "B10 a key twice"))),
    Row(11, "Half a surrogate pair, NUL; strict JSON", "NotSerializable", CALL,
        cases(CALLS, "B11 a lone surrogate", "B11 NUL")),
    Row(12, "A list in itself; strict JSON", "NotSerializable", CALL, cases(CALLS, "B12 ")),
    Row(13, "Arguments of a byte more than the limit", "PayloadTooLargeError with both sizes", CALL,
        (*cases(INPUT, "B13 "),
         "integration/test_bad_input.py::test_arguments_of_just_the_limit_are_taken_and_one_byte_more_is_told_with_both_sizes")),
    Row(14, "65, 5,000 and 100,000 levels; strict JSON", "PayloadTooDeep; PayloadFormatError when read", f"{CALL}, {ROW}",
        (*cases(CALLS, "B14 65", "B14 5,000", "B14 100,000"), *cases(NO_JSON, "B14 65", "B14 5,000", "B14 100,000 lists"))),
    Row(15, "A million empty lists; strict JSON", "PayloadTooComplex; PayloadFormatError when read", f"{CALL}, {ROW}",
        (*cases(CALLS, "B15 "), *cases(NO_JSON, "B15 "))),
    Row(16, "A chain of 10,000 exceptions, a message of 100 MB", "The attempt fails; its text is cut, and says so", CALL,
        ("integration/test_bad_input.py::test_an_error_without_end_is_stored_cut_and_marked",)),
    Row(17, "Arguments whose `__repr__`, `__eq__` or `__hash__` raise", "They are deferred, and failures noted", CALL,
        ("integration/test_bad_input.py::test_an_argument_that_raises_from_repr_eq_and_hash_is_deferred_and_returned",
         "integration/test_bad_input.py::test_a_failure_with_such_an_argument_is_recorded")),
    Row(18, "A stored payload that is empty, or cut at any byte", "Dead, reason corrupt", ROW,
        (*cases(CORRUPT, "B18 nothing"), *cases(BODIES, "bare"),
         "integration/test_corrupt_payloads.py::test_an_envelope_cut_at_any_byte_kills_the_task_and_nothing_runs")),
    Row(19, "Any bit of an envelope flipped", "PayloadSignatureError, nothing runs", ROW,
        ("unit/test_signing.py::test_an_envelope_with_any_bit_flipped_is_refused",
         "integration/test_corrupt_payloads.py::test_an_envelope_with_any_byte_changed_never_runs")),
    Row(20, "A signature in upper case, with spaces, with padding, empty", "PayloadSignatureError; 403",
        f"{ROW}, {SOCKETS}",
        (*cases(CORRUPT, "B20 the signature as hex", "B20 spaces", "B20 padding", "B20 no signature"),
         *cases(REQUESTS, "signature in upper case", "signature with a space"),
         *cases(FORGED, "padding", "a space inside", "no MAC"))),
    Row(21, "A valid body moved to another task or target", "PayloadSignatureError", f"{ROW}, {HTTP}",
        (*cases(CORRUPT, "B21 "),
         "integration/test_corrupt_payloads.py::test_a_payload_moved_to_another_target_dies_and_nothing_is_imported",
         "badinput/test_replays.py::test_signed_parts_of_two_tasks_make_no_third_one")),
    Row(22, "An envelope made for another purpose", "PayloadSignatureError; 403", f"{ROW}, {SOCKETS}",
        (*cases(CORRUPT, "B22 "), *cases(FORGED, "purpose payload", "purpose result", "the MAC of the payload"))),
    Row(23, "An unknown key id, a retired key, a key id of 1 MB", "UnknownKey, parked; 403", f"{ROW}, {SOCKETS}",
        (*cases(PARKED, "B23 a retired key"), *cases(FORGED, "a retired key", "a key id of 1 MB"),
         *cases(BEHIND, "a retired key", "a key id of 1 MB"))),
    Row(24, "Version 99, an unknown codec, the codec changed to pickle", "UnsupportedEnvelope, parked; CodecNotAllowed",
        ROW, (*cases(PARKED, "B24 version 99"), *cases(CORRUPT, "B24 a genuine envelope of an unknown", "B24 another codec"),
              "unit/test_signing.py::test_a_codec_changed_to_pickle_breaks_the_signature")),
    Row(25, "A pickle that calls, unsigned", "PayloadCorrupt or PayloadSignatureError; 403", f"{ROW}, {SOCKETS}",
        (*cases(CORRUPT, "B25 a pickle that calls, unsigned", "B25 a pickle that calls, forged"),
         *cases(FORGED, "a bare pickle"))),
    Row(26, "Pickles that double their memo, or claim a length of 2^40", "Refused before they are read", ROW,
        (*cases(BODIES, "B26 memo doubling", "B26 a length of 2^40"),
         "unit/test_inert_hostile.py::test_a_bomb_takes_few_steps_and_little_memory")),
    Row(27, "gzip, zlib, xz and zstd bombs, a bomb in a bomb", "Refused; nothing is ever unpacked, under 16 MB",
        f"{ROW}, {SOCKETS}", (*cases(BODIES, "B27 gzip", "B27 zlib", "B27 zstd", "B27 a bomb in a bomb"),
                              *cases(FORGED, "a compressed body"))),
    Row(28, "YAML or XML", "PayloadCorrupt, PayloadFormatError; 403", f"{ROW}, {SOCKETS}",
        (*cases(BODIES, "B28 YAML", "B28 XML"), *cases(NO_JSON, "B28 XML", "B28 YAML"), *cases(FORGED, "XML"))),
    Row(29, "Bytes behind the end, a byte order mark, invalid UTF-8; strict JSON", "PayloadFormatError with the offset",
        ROW, cases(NO_JSON, "B29 trailing bytes", "B29 BOM", "B29 invalid UTF-8")),
    Row(30, "A record of an error that names `os` and `system`", "Shown as text, never imported", f"{ROW}, {PUSH}",
        ("badinput/test_stored.py::test_the_kind_of_an_error_is_text_and_never_imported",)),
    Row(31, "A delivery without credentials", "403", HTTP,
        cases(REQUESTS, "B31 no credentials", "B31 no signature", "B31 no task", "B31 empty credentials")),
    Row(32, "`X-AppEngine-TaskName` alone", "403", HTTP, cases(REQUESTS, "B32 App Engine", "B32 Cloud Tasks")),
    Row(33, "Names with underscores, twice, in mixed case", "403, or 400", SOCKETS,
        (*cases(REQUESTS, "B33 underscores", "B33 twice", "B33 our task twice"), *cases(RAW, "B33 underscores"))),
    Row(34, "`SERVER_SOFTWARE` of a development server, or none", "403", HTTP,
        (*cases(REQUESTS, "B34 "),
         "integration/test_bad_requests.py::test_a_name_in_the_environment_of_the_server_is_no_credential")),
    Row(35, "OIDC: another audience, a list, none, with a slash", "403: no bearer token is a credential", HTTP,
        cases(REQUESTS, "B35 "), OIDC),
    Row(36, "OIDC: no algorithm, another one, another key, expired, too early, another issuer", "403, as before", HTTP,
        cases(REQUESTS, "B36 "), OIDC),
    Row(37, "OIDC: another service account, an unverified address", "403, as before", HTTP, cases(REQUESTS, "B37 "), OIDC),
    Row(38, "Tokens and signatures of 1 MB, of dots, not base64", "403", SOCKETS,
        (*cases(REQUESTS, "B38 token", "B38 signature"), *cases(FORGED, "dots", "a MAC of 1 MB", "the MAC as base64"))),
    Row(39, "A time 300 s off, none, `1e9`, negative, in other digits", "403", SOCKETS,
        (*cases(REQUESTS, "B39 too old", "B39 too new", "B39 no time", "1e9", "'-1'", "B39 time '²'"),
         *cases(FORGED, "signed for time 999999999999", "signed for time inf"))),
    Row(40, "Body, path, query or method changed; the signature of another delivery", "403", SOCKETS,
        (*cases(REQUESTS, "B40 body changed", "B40 query", "B40 signed for another path", "B40 signature of another"),
         *cases(FORGED, "signed for GET", "signed for the path", "signed for a query", "signed for an empty body"))),
    Row(41, "A length that is missing, `abc`, -1, +5, 0x10, too large, too small", "400 or 411", SOCKETS,
        (*cases(REQUESTS, "B41 no length", "'abc'", "'-1'", "'+5'", "'0x10'", "one less", "one more"),
         *cases(WIRE, "B41 no length", "abc", "-1", "+5", "0x10", "too large", "too small"),
         *cases(RAW, "B41 no length", "B41 two lengths"))),
    Row(42, "Two kinds of length; chunks without an end", "400 or 411, or the server closes", SOCKETS,
        (*cases(REQUESTS, "B42 two kinds", "B42 chunked"), *cases(WIRE, "B42 two kinds", "B42 chunked without an end"),
         *cases(RAW, "B42 two kinds", "B42 broken chunks"))),
    Row(43, "A body above the limit; one that does not end", "413; the server's patience", SOCKETS,
        (*cases(REQUESTS, "B43 larger", "B43 says"), *cases(WIRE, "B43 too large", "B43 slowly"), *cases(RAW, "B43 slowly"))),
    Row(44, "GET, HEAD, PUT, TRACE, a method of 10 kB", "405 with Allow, or 400", SOCKETS,
        (*cases(REQUESTS, "method GET", "method HEAD", "method PUT", "method TRACE", "method XXXX"),
         *cases(WIRE, "B44 GET", "B44 HEAD", "B44 PUT", "B44 TRACE", "B44 method of 10 kB"))),
    Row(45, "Two slashes, `..`, `%2e%2e`, `;x`, another case, a dot behind", "404, or it is the application's", SOCKETS,
        (*cases(REQUESTS, "run/..", "run;x", "Run", "run.", "%72un"), *cases(WIRE, "path with encoded dots", "encoded twice"),
         "integration/test_bad_requests.py::test_what_only_looks_like_our_path_is_the_applications")),
    Row(46, "Any Content-Type", "403 unsigned; signed it is taken", HTTP,
        (*cases(REQUESTS, "B46 "), "integration/test_bad_requests.py::test_any_content_type_will_do_on_what_is_signed")),
    Row(47, "A line break in a header, a header of 100 kB, 10,000 headers", "400, 403 or 431", SOCKETS,
        (*cases(REQUESTS, "B47 line break", "B47 header of 100 kB", "B47 10,000"),
         *cases(WIRE, "B47 line break", "B47 header of 100 kB", "B47 10,000"), *cases(RAW, "B47 ours twice"))),
    Row(48, "A delivery twice at once; after the task has ended", "409; 200 without a second run", SOCKETS,
        ("integration/test_bad_requests.py::test_a_second_delivery_is_put_off_and_after_the_end_there_is_nothing_to_do",
         "process/test_raw_requests.py::test_the_same_delivery_to_several_processes_at_once_runs_once")),
    Row(49, "A datetime without a zone", "NaiveDatetime", f"{CALL}, {COMMAND}", (*cases(INPUT, "B49 "), *cases(CLI, "B49 ")),
        "in a cron schedule: schedules"),
    Row(50, "eta and countdown together; a countdown that is NaN, a truth value, a text", "ScheduleError; -1 means now",
        f"{CALL}, {COMMAND}", (*cases(INPUT, "B50 "), *cases(CLI, "B50 "),
        "unit/test_options.py::test_a_countdown_counts_from_now_and_a_negative_one_means_now")),
    Row(51, "The year 1, 9999-12-31T23:59:60", "ScheduleError", f"{CALL}, {COMMAND}",
        (*cases(INPUT, "B51 "), *cases(CLI, "9999-12-31T23:59:60", "0001-01-01")), "30 days ahead: Cloud Tasks"),
    Row(52, "A zone that is unknown, or has no data", "ScheduleError", CALL, cases(INPUT, "B52 "), CRON),
    Row(53, "Cron lines that make no sense, or never fire", "an error with the position", CALL, (), CRON),
    Row(54, "An url of the metadata service", "TargetNotAllowed; ConfigError for a base", f"{CALL}, {PUSH}",
        (*cases(CALLS, "http://169.254.169.254", "http://metadata.google"), *cases(BASES, "169.254", "metadata.google"),
         "unit/test_push_bases.py::test_no_name_leads_to_metadata_or_where_nobody_serves")),
    Row(55, "`127.1`, 2130706433, `0x7f.1`, `[::ffff:127.0.0.1]`, circled digits", "TargetNotAllowed; ConfigError",
        f"{CALL}, {PUSH}", (*cases(CALLS, "http://127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "①"),
                            *cases(BASES, "http://127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "①"))),
    Row(56, "`http://example.com\\@127.0.0.1/`, `a@host`, `host:80#@x`", "InvalidUrl; ConfigError", f"{CALL}, {PUSH}",
        (*cases(CALLS, "@127.0.0.1", "http://a@host/", "host:80#@x"), *cases(BASES, "http://a@host/", "host:80#@x"))),
    Row(57, "`file:`, `gopher:`, `ftp:`, `unix:`, `javascript:`", "InvalidUrl; ConfigError", f"{CALL}, {PUSH}",
        (*cases(CALLS, "file:", "gopher:", "ftp:", "unix:", "javascript:"),
         *cases(BASES, "file:", "gopher:", "ftp:", "unix:", "javascript:"))),
    Row(58, "A name that is public, and then private", "Not followed", PUSH,
        ("unit/test_push_bases.py::test_a_name_that_suddenly_leads_to_another_kind_of_address_is_not_followed",
         f"{PUSHED}::test_the_connection_goes_to_the_address_that_was_looked_at",
         f"{PUSHED}::test_a_name_that_is_bound_anew_to_another_kind_of_address_gets_nothing")),
    Row(59, "A redirect", "Not followed; the attempt has failed", PUSH,
        (f"{PUSHED}::test_a_redirect_is_not_followed_and_the_error_says_where_it_pointed",)),
    Row(60, "Ports 22, 0, 65536, with a space", "TargetNotAllowed, InvalidUrl; ConfigError", f"{CALL}, {PUSH}",
        (*cases(CALLS, "localhost:22", "localhost:0", "localhost:65536", "localhost:80 "),
         *cases(BASES, "host:22", "host:0", "host:65536", "host:80 "))),
    Row(61, "A path without a slash in front, with two, with a backslash", "InvalidUrl", CALL,
        cases(CALLS, "'work'", "'//evil/x'", "evil")),
    Row(62, "An url of more than 2,083 bytes, with a space, a tab, a line break", "InvalidUrl", CALL,
        (*cases(CALLS, "'/xxxx", "'/a b'", "'/a\\t'", "'/a\\r\\n"), *cases(INVALID_URL, "/a b"))),
    Row(63, "A host in other letters, with a dot behind, with an empty label", "TargetNotAllowed; ConfigError",
        f"{CALL}, {PUSH}", (*cases(CALLS, "shоp.example", "shop.example./", "shop..example"),
                            *cases(BASES, "example.com./", "example..com"), *cases(ABSOLUTE_URL, "shop.example./"))),
    Row(64, "An answer without end, of 1 GB, a gzip bomb", "Cut off; not unpacked", PUSH,
        (f"{PUSHED}::test_an_endless_body_is_cut_off", f"{PUSHED}::test_a_body_of_a_gigabyte_is_not_waited_for",
         f"{PUSHED}::test_a_compressed_answer_is_not_unpacked",
         "unit/test_wire.py::test_an_outcome_that_waits_for_no_time_that_a_store_holds_is_corrupt",
         "unit/test_wire.py::test_no_text_of_an_outcome_has_half_a_surrogate_pair_in_it",
         "unit/test_transitions.py::test_whatever_reason_a_failure_gives_it_is_no_other_end")),
    Row(65, "Headers `Host`, `Content-Length`, `Transfer-Encoding`, `X-AppEngine-Cron`, `Authorization`", "InvalidOption",
        CALL, (*cases(CALLS, "B65 header Host", "content-length", "Transfer-Encoding", "X-AppEngine-Cron", "Authorization"),
               "badinput/test_calls.py::test_a_header_that_app_engine_lets_tasks_set_is_taken")),
    Row(66, "Header names `a b`, `a:b`, `a_b`, empty, not ASCII", "InvalidOption", CALL,
        cases(CALLS, "name 'a b'", "name 'a:b'", "name 'a_b'", "name ''", "name 'ä'")),
    Row(67, "Header values with a line break, NUL, of more than 8 kB", "InvalidOption", CALL,
        cases(CALLS, "B67 header value 'canary-7f3a\\r", "B67 header value 'canary-7f3a\\x00", "B67 header value 'xxx")),
    Row(68, "Queue names with a line break, empty, too long, `../x`, wide letters, SQL, quotes, `%s`, `{}`", "InvalidName",
        f"{CALL}, {COMMAND}, {SETTINGS}", (*cases(INPUT, "B68 "), *cases(CLI, "--queue=a\\n", "../x", "drop table", "%s", "{}"))),
    Row(69, "Task names with a slash, of 501 characters, an emoji, a line break", "InvalidName", f"{CALL}, {COMMAND}",
        (*cases(INPUT, "B69 "), *cases(CLI, "--name=a/b", "--name=xxx", "U0001f600", "--name=a\\n"))),
    Row(70, "A name that is taken, entombed, or whose task is being ended", "TaskAlreadyExistsError, TombstonedTaskError",
        f"{CALL}, {COMMAND}",
        ("integration/test_bad_input.py::test_a_taken_name_is_told_with_its_task_and_nothing_more_is_stored",
         "badinput/test_calls.py::test_a_name_whose_task_is_being_ended_is_still_taken",
         "cli/test_defer.py::test_a_name_that_is_taken")),
    Row(71, "A queue that is not declared", "UnknownQueueError, with the nearest", CALL, cases(INPUT, "B71 ")),
    Row(72, "Priorities `high`, 2^40, NaN, True", "InvalidOption", f"{CALL}, {COMMAND}",
        (*cases(INPUT, "B72 "), *cases(CLI, "--priority=high", "--priority=nan", "--priority=True", "--priority=1099"))),
    Row(73, "Attempts of 0, -1, 10^9; a lease of 0, a poll that is longer", "InvalidOption", f"{CALL}, {SETTINGS}, {COMMAND}",
        (*cases(INPUT, "B73 "), *cases(CLI, "B73 "))),
    Row(74, "SQL as a filter, a page of 10^18, one of -1", "A value and never a statement; exit code 2", COMMAND,
        ("badinput/test_calls.py::test_a_filter_is_a_value_and_never_a_statement",
         "badinput/test_calls.py::test_a_page_of_any_size_ends", *cases(CLI, "--limit=-1", "or 1=1", "--state=;")), DASHBOARD),
    Row(75, "Markup, links, templates and ANSI codes as arguments", "Shown as text", COMMAND,
        ("unit/test_inert_hostile.py::test_no_text_can_command_a_terminal_or_turn_a_line_around",), DASHBOARD),
    Row(76, "A change by GET, without a token, from another site", "405, 403", "dashboard", (), DASHBOARD),
    Row(77, "Another host on a loopback dashboard", "421", "dashboard", (), DASHBOARD),
    Row(78, "A dashboard on all addresses without credentials", "It does not start", "dashboard", (), DASHBOARD),
    Row(79, "A wrong password a hundred times", "401, and slower", "dashboard", (), DASHBOARD),
    Row(80, "A frame of another site", "Refused", "dashboard", (), DASHBOARD),
    Row(81, "`../../etc/passwd` as an asset", "404", "dashboard", (), DASHBOARD),
    Row(82, "A database that others may read, in a folder that they may write, a link, of another user",
        "A warning, or InsecurePath", STORE,
        (f"{FILES}::test_a_file_that_others_may_read_is_used_with_a_warning_and_the_command",
         f"{FILES}::test_a_folder_that_everybody_may_write_is_refused_and_stays_empty",
         f"{FILES}::test_a_symbolic_link_is_refused_and_what_it_leads_to_is_not_touched",
         f"{FILES}::test_the_file_of_another_user_is_refused")),
    Row(83, "A database that is cut, random, none, of a newer release, empty", "StoreCorrupt, SchemaTooNew; never overwritten",
        STORE,
        (f"{FILES}::test_a_truncated_database_is_refused_and_not_written_over",
         *cases(f"{FILES}::test_what_is_not_a_database_is_refused_and_not_written_over", "random bytes", "a text"),
         f"{FILES}::test_a_newer_schema_is_refused_and_not_written_over", f"{FILES}::test_an_empty_file_becomes_a_store")),
    Row(84, "Two applications with one database and two secrets", "UnknownKey, parked; 403; the other one is not affected",
        f"{STORE}, {HTTP}",
        (f"{FILES}::test_two_applications_with_different_secrets_leave_each_others_tasks_alone",
         "badinput/test_replays.py::test_a_delivery_does_nothing_at_an_application_with_another_secret_and_the_same_store")),
]  # fmt: skip
