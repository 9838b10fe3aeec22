%% What a worker, or whoever listens in its place, can do to the wire. Each fault is an error of its own call, or of
%% the calls of that connection where gRPC leaves no choice; streams beside it go on, and the limits here are upper ones.
%% The rows are those of docs/OPERATIONS.md, "Faults on the wire".
-module(wire_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([suite/0, all/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-export([
    garbage_is_an_error_of_the_call/1,
    truncated_message_is_an_error_of_the_call/1,
    unknown_flag_is_an_error_of_the_call/1,
    message_over_the_limit_is_refused/1,
    message_far_over_the_limit_is_bounded/1,
    claim_of_a_giant_message_ends_at_the_deadline/1,
    wrong_content_type_is_an_error_of_the_call/1,
    http_status_becomes_a_code/1,
    ok_without_a_message_is_an_error/1,
    two_messages_on_a_unary_call_are_an_error/1,
    no_status_is_an_error/1,
    strange_statuses_become_unknown/1,
    status_of_the_worker_is_told_from_one_of_the_library/1,
    call_that_a_stopping_worker_turns_away_is_unavailable/1,
    resets_become_codes/1,
    refused_stream_is_safe_to_repeat/1,
    reset_after_a_message_is_an_error/1,
    goaway_before_the_call_is_safe_to_repeat/1,
    goaway_in_the_middle_lets_the_call_finish/1,
    goaway_and_hang_up_ends_the_calls/1,
    lost_connection_ends_the_calls_and_comes_back/1,
    broken_frames_end_the_connection_only/1,
    overflowing_the_window_ends_the_connection_only/1,
    never_ending_metadata_are_bounded/1,
    much_metadata_harm_nobody/1,
    bad_base64_ends_the_connection_only/1,
    gzip_is_understood/1,
    gzip_bomb_is_refused/1,
    wrong_gzip_is_an_error_of_the_call/1,
    wrong_utf8_harms_its_own_call/1,
    repeated_keys_count_once/1,
    silence_ends_at_the_deadline/1,
    answer_without_an_end_is_taken/1,
    stream_open_after_its_final_message_is_done/1,
    messages_after_the_final_one_are_dropped/1,
    error_followed_by_silence_ends/1,
    deadline_before_the_end_of_an_error_is_a_deadline/1,
    broken_chunk_ends_an_endless_stream/1,
    one_stream_at_a_time_serves_a_thousand_calls/1,
    hundred_streams_at_a_time_serve_a_thousand_calls/1,
    servers_that_count_pings_see_none/0,
    servers_that_count_pings_see_none/1,
    worker_that_allows_pings_gets_them/1,
    mute_listener_is_unreachable/1,
    web_server_is_unreachable/1,
    broken_health_makes_a_worker_unresponsive/1,
    broken_info_is_no_obstacle/1,
    giant_info_is_no_obstacle/1
]).

suite() ->
    [{timetrap, {seconds, 30}}].

all() ->
    [Name || {Name, 1} <- ?MODULE:module_info(exports), lists:member($_, atom_to_list(Name)), not is_callback(Name)].

is_callback(Name) ->
    lists:member(Name, [init_per_suite, end_per_suite, module_info]).

init_per_suite(Config) ->
    [{bad, port_by_hand:start_worker([])}, {other, port_by_hand:start_worker([])} | Config].

end_per_suite(Config) ->
    port_by_hand:stop_worker(proplists:get_value(bad, Config)),
    port_by_hand:stop_worker(proplists:get_value(other, Config)).

init_per_testcase(_Case, Config) ->
    P = port_by_hand:open(["--max-message", "1MiB"]),
    port_by_hand:connect(P, <<"bad">>, proplists:get_value(bad, Config)),
    port_by_hand:connect(P, <<"other">>, proplists:get_value(other, Config)),
    [{port_program, P} | Config].

end_per_testcase(_Case, Config) ->
    port_by_hand:close(proplists:get_value(port_program, Config)).

%%% Bad messages

garbage_is_an_error_of_the_call(Config) ->
    fails(Config, both, <<"garbage">>, #{}, {internal, worker, decode}, 1000).

truncated_message_is_an_error_of_the_call(Config) ->
    fails(Config, execute, <<"truncated">>, #{}, {internal, worker, decode}, 1000).

unknown_flag_is_an_error_of_the_call(Config) ->
    P = program(Config),
    Beside = bystanders(P),
    %% gRPC core makes nothing of it, or an empty message: a race of its own.
    {error, _, #{code := Code, origin := worker}} = run(P, execute, <<"bad_flag">>, #{}, #{}, 1000),
    ?assert(lists:member(Code, [internal, unknown])),
    go_on(P, Beside).

message_over_the_limit_is_refused(Config) ->
    Errors = fails(Config, both, <<"giant">>, #{<<"size">> => <<"1100000">>}, {resource_exhausted, transport, too_large}, 2000),
    Numbers = <<"1100\\d{3} vs. \\d+.*: raise max_message, .* as a stream">>,
    [{match, _} = re:run(Message, Numbers) || #{message := Message} <- Errors].

%% gRPC refuses a message when it is here as a whole: the quota of the channel is what bounds it before.
message_far_over_the_limit_is_bounded(Config) ->
    Pid = port_by_hand:pid(program(Config)),
    Before = port_by_hand:rss(Pid),
    Size = #{<<"size">> => <<"300000000">>},
    fails(Config, execute, <<"giant">>, Size, {resource_exhausted, transport, too_large}, 15000),
    port_by_hand:sanitized() orelse ?assert(port_by_hand:rss(Pid) - Before < 150_000_000).

claim_of_a_giant_message_ends_at_the_deadline(Config) ->
    fails(Config, both, <<"claims_giant">>, #{}, #{timeout => 300}, {deadline_exceeded, transport, deadline}, 1000).

wrong_content_type_is_an_error_of_the_call(Config) ->
    fails(Config, both, <<"html">>, #{}, {unknown, transport, transport}, 1000).

http_status_becomes_a_code(Config) ->
    [
        fails(Config, execute, <<"http_status">>, #{<<"status">> => Status}, {Code, transport, transport}, 1000)
     || {Status, Code} <- [
            {<<"401">>, unauthenticated},
            {<<"403">>, permission_denied},
            {<<"404">>, unimplemented},
            {<<"429">>, unavailable},
            {<<"503">>, unavailable}
        ]
    ].

ok_without_a_message_is_an_error(Config) ->
    fails(Config, execute, <<"no_message">>, #{}, {internal, worker, decode}, 1000).

two_messages_on_a_unary_call_are_an_error(Config) ->
    fails(Config, execute, <<"two_messages">>, #{}, {internal, worker, decode}, 1000).

no_status_is_an_error(Config) ->
    fails(Config, both, <<"no_status">>, #{}, {unknown, transport, transport}, 1000).

strange_statuses_become_unknown(Config) ->
    [
        fails(Config, both, <<"status">>, #{<<"status">> => Status}, {unknown, worker, application}, 1000)
     || Status <- [<<"99">>, <<"banana">>, <<"-1">>]
    ].

status_of_the_worker_is_told_from_one_of_the_library(Config) ->
    [
        fails(Config, both, <<"status">>, #{<<"status">> => Status}, {Code, worker, application}, 1000)
     || {Status, Code} <- [
            {<<"1">>, cancelled},
            {<<"4">>, deadline_exceeded},
            {<<"8">>, resource_exhausted},
            {<<"14">>, unavailable}
        ]
    ].

%% So a server of gRPC that is being stopped answers calls that have just come in. Nobody cancelled anything.
call_that_a_stopping_worker_turns_away_is_unavailable(Config) ->
    Args = #{<<"status">> => <<"1">>, <<"message">> => <<"CANCELLED">>},
    fails(Config, both, <<"status">>, Args, {unavailable, transport, worker_down}, 1000).

%%% Resets, GOAWAY, lost connections

resets_become_codes(Config) ->
    [
        fails(Config, both, <<"rst">>, #{<<"code">> => Reset}, {Code, transport, transport}, 1000)
     || {Reset, Code} <- [
            {<<"0">>, internal},
            {<<"1">>, internal},
            {<<"2">>, internal},
            {<<"3">>, internal},
            {<<"5">>, internal},
            {<<"8">>, cancelled},
            {<<"11">>, resource_exhausted},
            {<<"12">>, permission_denied}
        ]
    ].

refused_stream_is_safe_to_repeat(Config) ->
    Errors = fails(Config, both, <<"rst">>, #{<<"code">> => <<"7">>}, {unavailable, transport, transport}, 1000),
    [?assertMatch(#{sent := false}, Error) || Error <- Errors].

reset_after_a_message_is_an_error(Config) ->
    [Error] = fails(Config, execute, <<"rst_after_message">>, #{}, {internal, transport, transport}, 1000),
    ?assertMatch(#{sent := true}, Error),
    [StreamError] = fails(
        Config, execute_stream, <<"rst_after_message">>, #{}, {internal, transport, transport}, 1000
    ),
    ?assertMatch(#{delivered := 1}, StreamError).

goaway_before_the_call_is_safe_to_repeat(Config) ->
    [Error] = fails(Config, execute, <<"goaway_unseen">>, #{}, {unavailable, transport, worker_down}, 1000),
    ?assertMatch(#{sent := false}, Error),
    is_back(Config).

goaway_in_the_middle_lets_the_call_finish(Config) ->
    P = program(Config),
    Tag = port_by_hand:call(P, <<"bad">>, <<"goaway_finish">>, #{<<"a">> => <<"b">>}),
    {ok, Tag, #{<<"a">> := <<"b">>}, _} = port_by_hand:terminal(P, Tag, 1000),
    is_back(Config).

goaway_and_hang_up_ends_the_calls(Config) ->
    [Error] = loses_connection(Config, <<"goaway_hang_up">>, {unavailable, transport, worker_down}),
    ?assertMatch(#{sent := true}, Error).

lost_connection_ends_the_calls_and_comes_back(Config) ->
    [Error] = loses_connection(Config, <<"hang_up">>, {unavailable, transport, worker_down}),
    ?assertMatch(#{sent := true}, Error).

broken_frames_end_the_connection_only(Config) ->
    loses_connection(Config, <<"nonsense">>, {unknown, transport, transport}).

overflowing_the_window_ends_the_connection_only(Config) ->
    loses_connection(Config, <<"overflow">>, {internal, transport, transport}).

%%% Metadata

%% HTTP/2 allows nothing else on a connection in the middle of a header block: its other calls wait for ever anyway.
never_ending_metadata_are_bounded(Config) ->
    Pid = port_by_hand:pid(program(Config)),
    Before = port_by_hand:peak(Pid),
    [
        begin
            loses_connection(Config, Command, {unavailable, transport, worker_down}, 5000),
            port_by_hand:sanitized() orelse ?assert(port_by_hand:peak(Pid) - Before < 16_000_000)
        end
     || Command <- [<<"endless_metadata">>, <<"endless_header">>, <<"endless_empty_frames">>]
    ].

much_metadata_harm_nobody(Config) ->
    P = program(Config),
    Beside = bystanders(P),
    Tag = port_by_hand:call(P, <<"bad">>, <<"much_metadata">>, #{<<"kib">> => <<"250">>}),
    Terminal = port_by_hand:terminal(P, Tag, 2000),
    ?assert(lists:member(element(1, Terminal), [ok, error])),
    go_on(P, Beside).

bad_base64_ends_the_connection_only(Config) ->
    loses_connection(Config, <<"bad_base64">>, {unknown, transport, transport}).

%%% Compression

gzip_is_understood(Config) ->
    P = program(Config),
    Text = binary:copy(<<"snake">>, 10000),
    Tag = port_by_hand:call(P, <<"bad">>, <<"zipped">>, #{<<"text">> => Text}, #{compression => gzip}),
    {ok, Tag, #{<<"text">> := Text, <<"request_flag">> := <<"1">>}, _} = port_by_hand:terminal(P, Tag, 1000),
    Plain = port_by_hand:call(P, <<"bad">>, <<"zipped">>, #{<<"text">> => Text}, #{}),
    {ok, Plain, #{<<"text">> := Text, <<"request_flag">> := <<"0">>}, _} = port_by_hand:terminal(P, Plain, 1000).

gzip_bomb_is_refused(Config) ->
    Pid = port_by_hand:pid(program(Config)),
    Before = port_by_hand:rss(Pid),
    fails(Config, both, <<"bomb">>, #{}, {resource_exhausted, worker, too_large}, 1000),
    port_by_hand:sanitized() orelse ?assert(port_by_hand:rss(Pid) - Before < 32_000_000).

wrong_gzip_is_an_error_of_the_call(Config) ->
    fails(Config, both, <<"not_gzip">>, #{}, {internal, worker, decode}, 1000).

%%% Text

wrong_utf8_harms_its_own_call(Config) ->
    fails(Config, both, <<"bad_key">>, #{}, {internal, worker, decode}, 1000),
    fails(Config, both, <<"bad_error">>, #{}, {unknown, worker, application}, 1000).

repeated_keys_count_once(Config) ->
    P = program(Config),
    Tag = port_by_hand:call(P, <<"bad">>, <<"twice_key">>, #{}),
    {ok, Tag, Result, _} = port_by_hand:terminal(P, Tag, 1000),
    ?assertEqual(#{<<"a">> => <<"2">>}, Result).

%%% Silence

silence_ends_at_the_deadline(Config) ->
    [
        fails(Config, both, Command, #{}, #{timeout => 300}, {deadline_exceeded, transport, deadline}, 1000)
     || Command <- [<<"silent">>, <<"early">>]
    ].

answer_without_an_end_is_taken(Config) ->
    P = program(Config),
    Tag = port_by_hand:call(P, <<"bad">>, <<"never_closes">>, #{<<"a">> => <<"b">>}, #{timeout => infinity}),
    {ok, Tag, #{<<"a">> := <<"b">>}, _} = port_by_hand:terminal(P, Tag, 2000).

stream_open_after_its_final_message_is_done(Config) ->
    P = program(Config),
    Tag = port_by_hand:stream(P, <<"bad">>, <<"final_then_silence">>, #{}, #{timeout => infinity}),
    {[_, _], {done, Tag, #{chunks := 2}}} = port_by_hand:collect(P, Tag, 2000).

messages_after_the_final_one_are_dropped(Config) ->
    P = program(Config),
    Tag = port_by_hand:stream(P, <<"bad">>, <<"talks_after_final">>, #{}),
    {[_, _], {done, Tag, #{chunks := 2}}} = port_by_hand:collect(P, Tag, 1000).

error_followed_by_silence_ends(Config) ->
    fails(
        Config,
        both,
        <<"error_then_silence">>,
        #{},
        #{timeout => infinity},
        {unknown, worker, application},
        2000
    ).

deadline_before_the_end_of_an_error_is_a_deadline(Config) ->
    Ends = {deadline_exceeded, transport, deadline},
    Fails = fun(Kind) -> fails(Config, Kind, <<"error_then_silence">>, #{}, #{timeout => 700}, Ends, 2000) end,
    _ = Fails(execute),
    ?assertMatch([#{message := <<"it broke">>}], Fails(execute_stream)).

broken_chunk_ends_an_endless_stream(Config) ->
    [Error] = fails(Config, execute_stream, <<"bad_chunk">>, #{}, {internal, worker, decode}, 1000),
    ?assertMatch(#{delivered := 1}, Error).

%%% MAX_CONCURRENT_STREAMS

one_stream_at_a_time_serves_a_thousand_calls(Config) ->
    thousand_calls(Config, 1).

hundred_streams_at_a_time_serve_a_thousand_calls(Config) ->
    thousand_calls(Config, 100).

%% The worker ends the connection when a client opens more streams than it allows: that every call is answered shows
%% that none did.
thousand_calls(Config, MaxStreams) ->
    P = program(Config),
    Worker = port_by_hand:start_worker(["--max-streams", integer_to_list(MaxStreams)]),
    port_by_hand:connect(P, <<"narrow">>, Worker, #{max_concurrent => 1000}),
    Tags = [port_by_hand:call(P, <<"narrow">>, <<"echo">>, #{<<"n">> => integer_to_binary(N)}) || N <- lists:seq(1, 1000)],
    [{ok, Tag, #{<<"n">> := _}, _} = port_by_hand:terminal(P, Tag, 15000) || Tag <- Tags],
    port_by_hand:stop_worker(Worker).

%%% Pings

%% Servers as they are, with gRPC's default policy, and one that bears no ping at all. While a worker is idle, busy, and
%% keeps a stalled stream, its health is looked at often; no HTTP/2 ping is among it, not even with the option
%% keepalive, as none of them announces that it allows that. That they count is seen at the end.
servers_that_count_pings_see_none() ->
    [{timetrap, {minutes, 2}}].

servers_that_count_pings_see_none(Config) ->
    Root = port_by_hand:root(),
    Go = filename:join([Root, "_build", "go", "worker"]),
    Bench = filename:join([Root, "_build", "bench"]),
    CoreWorker = filename:join(Bench, "worker"),
    _ = port_by_hand:command(os:find_executable("make"), ["-s", "-C", filename:join(Root, "bench"), "BUILD_DIR=" ++ Bench, CoreWorker]),
    %% It does not say when it is ready: the connection waits for it.
    Tutorial = lists:append([port_by_hand:python(), " ", filename:join([Root, "test", "support", "tutorial_worker.py"])]),
    Port = integer_to_list(free_port()),
    Shell = lists:append(["echo GRPC_SERVER_READY_ON_PORT=", Port, "; exec ", Tutorial, " --port ", Port]),
    Guarded = fun(Argv) -> port_by_hand:start_program(port_by_hand:program(), ["exec", "--" | Argv], []) end,
    Servers =
        [{core, Guarded([CoreWorker]), <<"chunks">>}, {grpcio, Guarded(["/bin/sh", "-c", Shell]), none}] ++
        [{strict, port_by_hand:start_worker(["--no-pings"]), <<"count">>}] ++
        [{go, Guarded([Go]), <<"chunks">>} || filelib:is_regular(Go)],
    [sees_no_ping(program(Config), Id, Worker, Stream) || {Id, Worker, Stream} <- Servers],
    case lists:keymember(go, 1, Servers) of
        true -> ok;
        false -> {comment, "without a worker in Go: go is not installed"}
    end.

sees_no_ping(P, Name, Worker, Stream) ->
    Id = atom_to_binary(Name),
    port_by_hand:connect(P, Id, Worker, #{health_interval => 20, keepalive => 20}),
    _ = port_by_hand:strays(P),
    Stalled = [port_by_hand:stream(P, Id, Stream, chunks_args(), #{credit => 3, timeout => infinity}) || Stream =/= none],
    [_ = port_by_hand:chunks(P, Tag, 3, 2000) || Tag <- Stalled],
    [
        begin
            Tag = port_by_hand:call(P, Id, <<"echo">>, #{<<"a">> => <<"b">>}),
            {ok, Tag, _, _} = port_by_hand:terminal(P, Tag, 2000),
            receive after 100 -> ok end
        end
     || _ <- lists:seq(1, 20)
    ],
    [port_by_hand:send(P, {credit, Tag, 100}) || Tag <- Stalled],
    [_ = port_by_hand:chunks(P, Tag, 100, 5000) || Tag <- Stalled],
    [port_by_hand:send(P, {cancel, Tag}) || Tag <- Stalled],
    [{_, {error, Tag, #{code := cancelled}}} = port_by_hand:collect(P, Tag, 1000) || Tag <- Stalled],
    [] = [State || {State, #{reason := Reason}} <- port_by_hand:states(P, Id), {State, Reason} =/= {ready, healthy}],
    port_by_hand:send(P, {disconnect, d, Id, now}),
    {ok, d, #{}, #{}} = port_by_hand:terminal(P, d, 1000),
    %% The same with pings.
    Pinger = filename:join([port_by_hand:root(), "test", "support", "pinger.py"]),
    _ = port_by_hand:command(port_by_hand:python(), [Pinger, binary_to_list(port_by_hand:worker_target(Worker))]),
    port_by_hand:stop_worker(Worker).

%% This one announces that it allows them, and lies.
worker_that_allows_pings_gets_them(Config) ->
    P = program(Config),
    Worker = port_by_hand:start_worker(["--keepalive", "--no-pings"]),
    port_by_hand:connect(P, <<"patient">>, Worker, #{health_interval => off}),
    port_by_hand:send(P, {connect, c, <<"pinged">>, port_by_hand:worker_target(Worker), #{health_interval => off, keepalive => 20}}),
    Is = fun(State, Reason) -> fun(E) ->
        element(1, E) =:= worker andalso element(2, E) =:= <<"pinged">> andalso element(3, E) =:= State andalso
            map_get(reason, element(4, E)) =:= Reason
    end end,
    _ = port_by_hand:await(P, Is(ready, healthy), 2000),
    _ = port_by_hand:await(P, Is(connecting, lost), 2000),
    [] = port_by_hand:states(P, <<"patient">>),
    port_by_hand:stop_worker(Worker).

free_port() ->
    {ok, Socket} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Socket),
    ok = gen_tcp:close(Socket),
    Port.

chunks_args() -> #{<<"count">> => <<"1000000">>, <<"size">> => <<"65536">>}.

%%% Those who listen where a worker should

mute_listener_is_unreachable(Config) ->
    never_ready(Config, ["--mute"], unreachable, connect_failed).

web_server_is_unreachable(Config) ->
    never_ready(Config, ["--http1"], unreachable, connect_failed).

broken_health_makes_a_worker_unresponsive(Config) ->
    never_ready(Config, ["--health", "garbage"], unresponsive, unhealthy),
    never_ready(Config, ["--health", "hang_up_politely"], unresponsive, unhealthy),
    never_ready(Config, ["--health", "silent"], unresponsive, silent).

%% Calls wait for a worker that may come, no longer than their timeout; nothing else waits with them.
never_ready(Config, Args, State, Reason) ->
    P = program(Config),
    Beside = bystanders(P),
    Worker = port_by_hand:start_worker(Args),
    Target = port_by_hand:worker_target(Worker),
    port_by_hand:send(P, {connect, c, <<"dumb">>, Target, #{ready_timeout => 500, unresponsive_after => 500}}),
    {ok, c, #{}, #{}} = port_by_hand:terminal(P, c, 1000),
    Tag = port_by_hand:call(P, <<"dumb">>, <<"echo">>, #{}, #{timeout => 1000}),
    {worker, _, _, #{reason := Reason}} =
        port_by_hand:await(P, fun(E) -> element(1, E) =:= worker andalso element(3, E) =:= State end, 2000),
    {error, Tag, #{sent := false}} = port_by_hand:terminal(P, Tag, 3000),
    go_on(P, Beside),
    port_by_hand:send(P, {disconnect, d, <<"dumb">>, now}),
    {ok, d, #{}, #{}} = port_by_hand:terminal(P, d, 1000),
    port_by_hand:stop_worker(Worker).

broken_info_is_no_obstacle(Config) ->
    [serves(Config, ["--info", Fault]) || Fault <- ["garbage", "two_messages", "rst", "no_message", "bomb"]].

giant_info_is_no_obstacle(Config) ->
    serves(Config, ["--info-keys", "50000"]).

serves(Config, Args) ->
    P = program(Config),
    Worker = port_by_hand:start_worker(Args),
    port_by_hand:connect(P, <<"odd">>, Worker),
    Tag = port_by_hand:call(P, <<"odd">>, <<"echo">>, #{<<"a">> => <<"b">>}),
    {ok, Tag, #{<<"a">> := <<"b">>}, _} = port_by_hand:terminal(P, Tag, 1000),
    port_by_hand:send(P, {disconnect, d, <<"odd">>, now}),
    {ok, d, #{}, #{}} = port_by_hand:terminal(P, d, 1000),
    port_by_hand:stop_worker(Worker).

%%% Helpers

program(Config) ->
    proplists:get_value(port_program, Config).

%% The call ends with that error; the streams on the same connection and on another one go on.
fails(Config, Kind, Command, Args, Wanted, Limit) ->
    fails(Config, Kind, Command, Args, #{}, Wanted, Limit).

fails(Config, both, Command, Args, Opts, Wanted, Limit) ->
    fails(Config, execute, Command, Args, Opts, Wanted, Limit) ++
        fails(Config, execute_stream, Command, Args, Opts, Wanted, Limit);
fails(Config, Kind, Command, Args, Opts, {Code, Origin, Reason}, Limit) ->
    P = program(Config),
    Beside = bystanders(P),
    Error = run(P, Kind, Command, Args, Opts, Limit),
    go_on(P, Beside),
    [port_by_hand:fails(Error, Code, Origin, Reason)].

run(P, Kind, Command, Args, Opts, Limit) ->
    Tag = make_ref(),
    port_by_hand:send(P, {Kind, Tag, {worker, <<"bad">>}, Command, Args, Opts}),
    {_Chunks, Terminal} = port_by_hand:collect(P, Tag, Limit),
    Terminal.

%% The call takes its connection with it: the streams there end at once, those of another worker go on, and the
%% worker is back within a second.
loses_connection(Config, Command, Wanted) ->
    loses_connection(Config, Command, Wanted, 1000).

loses_connection(Config, Command, {Code, Origin, Reason}, Limit) ->
    P = program(Config),
    [{<<"bad">>, Here}, {<<"other">>, There}] = bystanders(P),
    Error = run(P, execute, Command, #{}, #{}, Limit),
    {_, {error, Here, #{origin := transport, delivered := 1}}} = port_by_hand:collect(P, Here, 1000),
    go_on(P, [{<<"other">>, There}]),
    is_back(Config),
    [port_by_hand:fails(Error, Code, Origin, Reason)].

is_back(Config) ->
    P = program(Config),
    Tag = port_by_hand:call(P, <<"bad">>, <<"echo">>, #{<<"a">> => <<"b">>}),
    {ok, Tag, #{<<"a">> := <<"b">>}, _} = port_by_hand:terminal(P, Tag, 1000).

%% Endless streams that have delivered their only chunk yet.
bystanders(P) ->
    bystanders(P, [<<"bad">>, <<"other">>]).

bystanders(P, Workers) ->
    [
        begin
            Tag = port_by_hand:stream(P, Worker, <<"count">>, #{}, #{credit => 1, timeout => infinity}),
            [#{<<"n">> := <<"0">>}] = port_by_hand:chunks(P, Tag, 1, 1000),
            {Worker, Tag}
        end
     || Worker <- Workers
    ].

go_on(P, Bystanders) ->
    [
        begin
            port_by_hand:send(P, {credit, Tag, 2}),
            [#{<<"n">> := <<"1">>}, #{<<"n">> := <<"2">>}] = port_by_hand:chunks(P, Tag, 2, 1000),
            port_by_hand:send(P, {cancel, Tag}),
            {_, {error, Tag, #{code := cancelled, delivered := 3}}} = port_by_hand:collect(P, Tag, 1000)
        end
     || {_Worker, Tag} <- Bystanders
    ].
