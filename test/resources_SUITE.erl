%% Thousands of calls, megabytes nobody reads, limits of the system: memory stays bounded by what docs/OPERATIONS.md says
%% ("Resources and limits"), and cancel, credit and disconnect get through. The worker is the one of the benchmark, which
%% is faster than what it is to be tested against.
-module(resources_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([suite/0, all/0, init_per_suite/1, end_per_suite/1]).
-export([
    ten_thousand_streams_at_once/1,
    consumer_without_credit_slows_the_worker/1,
    stalled_streams_keep_nobody_waiting/1,
    ten_thousand_calls_cancelled_at_once/1,
    ten_thousand_large_answers_at_once/1,
    worker_that_takes_nothing_holds_nobody/1,
    deadlines_pass_while_the_program_is_stopped/1,
    idle_program_takes_no_time/1,
    blocked_stdout_bounds_memory/1,
    owner_that_never_reads_is_bounded/1,
    exhausted_descriptors_harm_new_connections_only/1,
    full_queue_refuses_and_goes_on/1,
    large_messages_both_ways/1,
    answer_of_a_million_entries_is_bounded/1,
    calls_over_the_limit_are_refused/1
]).

-define(MIB, 1048576).

suite() ->
    [{timetrap, {seconds, 90}}].

all() ->
    [Name || {Name, 1} <- ?MODULE:module_info(exports), not lists:member(Name, [init_per_suite, end_per_suite, module_info])].

init_per_suite(Config) ->
    Root = port_by_hand:root(),
    Build = filename:join([Root, "_build", "bench"]),
    Program = filename:join(Build, "worker"),
    _ = port_by_hand:command(os:find_executable("make"), ["-s", "-C", filename:join(Root, "bench"), "BUILD_DIR=" ++ Build, Program]),
    [{worker_program, Program} | Config].

end_per_suite(_Config) ->
    ok.

start_worker(Config) ->
    port_by_hand:start_program(port_by_hand:program(), ["exec", "--", proplists:get_value(worker_program, Config)], []).

%%% Many at once

ten_thousand_streams_at_once(Config) ->
    N = 10_000,
    Worker = start_worker(Config),
    P = port_by_hand:open(),
    connect(P, <<"w">>, Worker, #{max_concurrent => N}),
    Before = port_by_hand:rss(port_by_hand:pid(P)),
    Tags = open_streams(P, N, <<"hold">>, #{<<"count">> => <<"1">>, <<"size">> => <<"100">>}, infinity),
    [{chunk, _, #{<<"data">> := _}} = port_by_hand:take(P, 20_000) || _ <- Tags],
    ?assertMatch(#{calls := N}, port_by_hand:stats(P)),
    PerStream = (port_by_hand:rss(port_by_hand:pid(P)) - Before) div N,
    report("~b bytes of the port program per open stream", [PerStream]),
    port_by_hand:sanitized() orelse ?assert(PerStream < 40_000),
    [?assertMatch(#{delivered := 1}, Error) || Error <- all_cancelled(P, Tags)],
    ?assertMatch(#{calls := 0}, port_by_hand:stats(P)),
    done(P, Worker).

ten_thousand_calls_cancelled_at_once(_Config) ->
    N = 10_000,
    Worker = port_by_hand:start_worker([]),
    P = port_by_hand:open(),
    connect(P, <<"w">>, Worker, #{max_concurrent => N}),
    Tags = [make_ref() || _ <- lists:seq(1, N)],
    Call = fun(Tag) -> {execute, Tag, {worker, <<"w">>}, <<"silent">>, #{}, #{timeout => infinity}} end,
    port_by_hand:send(P, [Call(Tag) || Tag <- Tags]),
    port_by_hand:until(fun() -> maps:get(in_flight, maps:get(<<"w">>, maps:get(workers, port_by_hand:stats(P)))) =:= N end, 10_000),
    pong = port_by_hand:ping(P),
    _ = all_cancelled(P, Tags),
    ?assertMatch(#{calls := 0}, port_by_hand:stats(P)),
    done(P, Worker).

%% In under a second, of a core that the port program has for itself.
all_cancelled(P, Tags) ->
    Before = port_by_hand:cpu_ms(port_by_hand:pid(P)),
    Start = erlang:monotonic_time(millisecond),
    port_by_hand:send(P, [{cancel, Tag} || Tag <- Tags]),
    Errors = [receive_cancelled(P) || _ <- Tags],
    Took = erlang:monotonic_time(millisecond) - Start,
    Worked = port_by_hand:cpu_ms(port_by_hand:pid(P)) - Before,
    report("~b cancelled in ~b ms, of which the port program worked ~b", [length(Tags), Took, Worked]),
    port_by_hand:sanitized() orelse ?assert(Worked < 1_000),
    Errors.

receive_cancelled(P) ->
    {error, _, #{code := cancelled} = Error} = port_by_hand:take(P, 5_000),
    Error.

%% At most max_buffered of answers is on its way; beside it each call that is answered has its window of 64 KiB in gRPC.
ten_thousand_large_answers_at_once(Config) ->
    N = case port_by_hand:sanitized() of true -> 2_000; false -> 10_000 end,
    Worker = start_worker(Config),
    P = port_by_hand:open(["--max-buffered", "64MiB", "--max-calls", "20000"]),
    connect(P, <<"w">>, Worker, #{max_concurrent => N}),
    Watch = watch_rss(P),
    Tags = [port_by_hand:call(P, <<"w">>, <<"blob">>, #{<<"size">> => <<"1048576">>}, #{timeout => infinity}) || _ <- lists:seq(1, N)],
    %% The last ones are cancelled while the first ones come: that gets through.
    Dropped = lists:nthtail(N - 1000, Tags),
    Sent = erlang:monotonic_time(millisecond),
    port_by_hand:send(P, [{cancel, Tag} || Tag <- Dropped] ++ [{ping, middle}]),
    {Answers, Cancelled, Pong} = take_answers(P, N, {0, 0, none}),
    report("a ping behind 1,000 cancels came after ~b ms, all answers after ~b ms", [
        Pong - Sent, erlang:monotonic_time(millisecond) - Sent
    ]),
    ?assertEqual(N, Answers + Cancelled),
    Peak = rss_peak(Watch),
    report("~b answers of 1 MiB and ~b cancelled: the port program had at most ~b MiB", [Answers, Cancelled, Peak div ?MIB]),
    port_by_hand:sanitized() orelse ?assert(Peak < 64 * ?MIB + N * 96 * 1024),
    done(P, Worker).

take_answers(_P, N, {Answers, Cancelled, Pong}) when Answers + Cancelled =:= N, Pong =/= none ->
    {Answers, Cancelled, Pong};
take_answers(P, N, {Answers, Cancelled, Pong}) ->
    case port_by_hand:take(P, 20_000) of
        {ok, middle, pong, #{}} -> take_answers(P, N, {Answers, Cancelled, erlang:monotonic_time(millisecond)});
        {ok, _, #{<<"data">> := <<_:?MIB/binary>>}, _} -> take_answers(P, N, {Answers + 1, Cancelled, Pong});
        {error, _, #{code := cancelled}} -> take_answers(P, N, {Answers, Cancelled + 1, Pong})
    end.

%%% Consumers that do not read

consumer_without_credit_slows_the_worker(Config) ->
    Worker = start_worker(Config),
    P = port_by_hand:open(),
    connect(P, <<"w">>, Worker),
    [Stream] = open_streams(P, 1, <<"chunks">>, #{<<"count">> => <<"4000000000">>, <<"size">> => <<"65536">>}, 4),
    _ = port_by_hand:chunks(P, Stream, 4, 5_000),
    echo_calls(P, 1_000),
    Before = rss_of(P, Worker),
    echo_calls(P, 5_000),
    After = rss_of(P, Worker),
    [
        begin
            report("~s: ~b KiB more after 5,000 calls beside a stalled stream", [Who, (B - A) div 1024]),
            port_by_hand:sanitized() orelse ?assert(B - A < 16 * ?MIB)
        end
     || {Who, A, B} <- lists:zip3(["port program", "worker"], Before, After)
    ],
    [] = port_by_hand:strays(P),
    port_by_hand:send(P, {credit, Stream, 1000}),
    _ = port_by_hand:chunks(P, Stream, 1000, 10_000),
    port_by_hand:send(P, {cancel, Stream}),
    {[], {error, Stream, #{code := cancelled, delivered := 1004}}} = port_by_hand:collect(P, Stream, 1_000),
    done(P, Worker).

%% More is held than max_buffered allows, for ever: calls and streams beside it go on, also large ones.
stalled_streams_keep_nobody_waiting(Config) ->
    Worker = start_worker(Config),
    P = port_by_hand:open(["--max-buffered", "16MiB"]),
    connect(P, <<"w">>, Worker, #{max_concurrent => 1000}),
    Before = port_by_hand:rss(port_by_hand:pid(P)),
    N = 200,
    Stalled = open_streams(P, N, <<"chunks">>, #{<<"count">> => <<"1000000">>, <<"size">> => <<"1048576">>}, 1),
    [{chunk, _, _} = port_by_hand:take(P, 10_000) || _ <- Stalled],
    echo_calls(P, 1_000),
    [
        begin
            Tag = port_by_hand:call(P, <<"w">>, <<"blob">>, #{<<"size">> => <<"10000000">>}),
            {ok, Tag, #{<<"data">> := <<_:10_000_000/binary>>}, _} = port_by_hand:terminal(P, Tag, 5_000)
        end
     || _ <- lists:seq(1, 20)
    ],
    [Running] = open_streams(P, 1, <<"chunks">>, #{<<"count">> => <<"100">>, <<"size">> => <<"1048576">>}, infinity),
    {Chunks, {done, Running, _}} = port_by_hand:collect(P, Running, 10_000),
    ?assertEqual(100, length(Chunks)),
    Grown = port_by_hand:rss(port_by_hand:pid(P)) - Before,
    report("~b MiB for ~b stalled streams with chunks of 1 MiB", [Grown div ?MIB, N]),
    #{held_bytes := Held} = port_by_hand:stats(P),
    report("held: ~b MiB", [Held div ?MIB]),
    [begin
        port_by_hand:send(P, {credit, Tag, 1}),
        [_] = port_by_hand:chunks(P, Tag, 1, 5_000),
        port_by_hand:send(P, {cancel, Tag}),
        {_, {error, Tag, #{code := cancelled, delivered := 2}}} = port_by_hand:collect(P, Tag, 1_000)
     end || Tag <- Stalled],
    done(P, Worker).

%% gRPC lets go of a call when it is written, and nothing is written to a worker that is stopped. Its calls end all the
%% same, and once it goes on everything is as before.
worker_that_takes_nothing_holds_nobody(Config) ->
    Worker = start_worker(Config),
    Other = start_worker(Config),
    P = port_by_hand:open(),
    connect(P, <<"w">>, Worker, #{max_concurrent => 1000, health_interval => 1500, unresponsive_after => 200}),
    connect(P, <<"other">>, Other),
    Pid = youngest(port_by_hand:worker_pid(Worker)),
    signal("STOP", Pid),
    Large = #{<<"x">> => binary:copy(<<"x">>, ?MIB)},
    Due = [port_by_hand:call(P, <<"w">>, <<"echo">>, Large, #{timeout => 500}) || _ <- lists:seq(1, 50)],
    Patient = [port_by_hand:call(P, <<"w">>, <<"echo">>, Large, #{timeout => infinity}) || _ <- lists:seq(1, 10)],
    Streams = open_streams(P, 10, <<"chunks">>, #{<<"count">> => <<"1">>, <<"size">> => <<"1">>}, 1),
    [port_by_hand:fails(port_by_hand:terminal(P, Tag, 1_500), deadline_exceeded, transport, deadline) || Tag <- Due],
    port_by_hand:send(P, [{cancel, Tag} || Tag <- Patient ++ Streams]),
    [port_by_hand:fails(port_by_hand:terminal(P, Tag, 1_500), cancelled, mux, cancelled) || Tag <- Patient ++ Streams],
    serves(P, <<"other">>),
    _ = port_by_hand:await(P, fun(E) -> element(1, E) =:= worker andalso element(3, E) =:= unresponsive end, 3_000),
    ?assertMatch(#{calls := 0}, port_by_hand:stats(P)),
    signal("CONT", Pid),
    _ = port_by_hand:await(P, fun(E) -> element(1, E) =:= worker andalso element(3, E) =:= ready end, 5_000),
    serves(P, <<"w">>),
    port_by_hand:stop_worker(Other),
    done(P, Worker).

%% When it goes on, gRPC has its deadlines to tell of, and the program finds them overdue by itself: whoever is first.
deadlines_pass_while_the_program_is_stopped(Config) ->
    Worker = start_worker(Config),
    P = port_by_hand:open(),
    connect(P, <<"w">>, Worker, #{max_concurrent => 10000}),
    Chunks = #{<<"count">> => <<"1000">>, <<"size">> => <<"100">>},
    Stalled = [port_by_hand:stream(P, <<"w">>, <<"chunks">>, Chunks, #{credit => 1, timeout => 500}) || _ <- lists:seq(1, 1000)],
    Silent = [port_by_hand:stream(P, <<"w">>, <<"hold">>, Chunks, #{credit => 1, timeout => 500}) || _ <- lists:seq(1, 1000)],
    _ = port_by_hand:ping(P),
    signal("STOP", port_by_hand:pid(P)),
    timer:sleep(1_500),
    signal("CONT", port_by_hand:pid(P)),
    [port_by_hand:fails(element(2, port_by_hand:collect(P, Tag, 3_000)), deadline_exceeded, transport, deadline)
     || Tag <- Stalled ++ Silent],
    serves(P, <<"w">>),
    done(P, Worker).

%% It looks for more to do after it was busy, but not for long.
idle_program_takes_no_time(Config) ->
    Worker = start_worker(Config),
    P = port_by_hand:open(),
    connect(P, <<"w">>, Worker),
    serves(P, <<"w">>),
    Before = port_by_hand:cpu_ms(port_by_hand:pid(P)),
    timer:sleep(3_000),
    ?assert(port_by_hand:cpu_ms(port_by_hand:pid(P)) - Before =< 20),
    done(P, Worker).

%% Nobody reads stdout while 100 endless streams with infinite credit and 500 large answers are on their way.
blocked_stdout_bounds_memory(Config) ->
    Worker = start_worker(Config),
    Valve = filename:join([port_by_hand:root(), "test", "support", "valve.py"]),
    P = port_by_hand:open(port_by_hand:python(), [Valve, port_by_hand:program(), "port", "--max-buffered", "64MiB"]),
    connect(P, <<"w">>, Worker, #{max_concurrent => 1000}),
    connect(P, <<"leaving">>, Worker),
    #{os_pid := Pid} = port_by_hand:stats(P),
    Before = port_by_hand:rss(Pid),
    turn(P),
    Streams = open_streams(P, 100, <<"chunks">>, #{<<"count">> => <<"4000000000">>, <<"size">> => <<"65536">>}, infinity),
    Calls = [port_by_hand:call(P, <<"w">>, <<"blob">>, #{<<"size">> => <<"1048576">>}) || _ <- lists:seq(1, 500)],
    Gone = port_by_hand:call(P, <<"leaving">>, <<"echo">>, #{}),
    port_by_hand:until(fun() -> port_by_hand:rss(Pid) - Before > 32 * ?MIB end, 10_000),
    is_steady(Pid),
    Grown = port_by_hand:rss(Pid) - Before,
    report("~b MiB with stdout blocked", [Grown div ?MIB]),
    port_by_hand:sanitized() orelse ?assert(Grown < 64 * ?MIB + 600 * 400 * 1024),
    %% stdin is read all the time.
    {Micros, _} = timer:tc(fun() ->
        [port_by_hand:send(P, {credit, Tag, 1}) || Tag <- Streams, _ <- lists:seq(1, 1000)],
        port_by_hand:send(P, [{cancel, Tag} || Tag <- Streams]),
        port_by_hand:send(P, {disconnect, d, <<"leaving">>, now})
    end),
    port_by_hand:sanitized() orelse ?assert(Micros < 2_000_000),
    is_steady(Pid),
    turn(P),
    [{_, {error, _, #{code := cancelled}}} = port_by_hand:collect(P, Tag, 20_000) || Tag <- Streams],
    {ok, d, #{}, #{}} = port_by_hand:terminal(P, d, 5_000),
    [{ok, _, #{}, _} = port_by_hand:terminal(P, Tag, 20_000) || Tag <- Calls],
    _ = port_by_hand:terminal(P, Gone, 1_000),
    done(P, Worker).

%% It asks and asks and never reads the answers: in the end it is not read either. Once it reads, every one is there.
owner_that_never_reads_is_bounded(_Config) ->
    Valve = filename:join([port_by_hand:root(), "test", "support", "valve.py"]),
    P = port_by_hand:open(port_by_hand:python(), [Valve, port_by_hand:program(), "port", "--max-buffered", "1MiB"]),
    #{os_pid := Pid} = port_by_hand:stats(P),
    Before = port_by_hand:rss(Pid),
    turn(P),
    N = 150,
    Test = self(),
    #{port := Port} = P,
    %% A thousand pings in each frame, with tags that come back: 30 MB of answers.
    Tag = fun(I, J) -> {I, J, binary:copy(<<"x">>, 200)} end,
    Frames = [term_to_binary([{ping, Tag(I, J)} || J <- lists:seq(1, 1000)]) || I <- lists:seq(1, N)],
    Writer = spawn_link(fun() -> [port_command(Port, Frame) || Frame <- Frames], Test ! {self(), written} end),
    is_steady(Pid),
    receive {Writer, written} -> ct:fail("all was read") after 1_000 -> ok end,
    Grown = port_by_hand:rss(Pid) - Before,
    report("~b MiB for an owner that never reads", [Grown div ?MIB]),
    port_by_hand:sanitized() orelse ?assert(Grown < 16 * ?MIB),
    turn(P),
    [{ok, {_, _, _}, pong, #{}} = port_by_hand:take(P, 20_000) || _ <- lists:seq(1, N * 1000)],
    receive {Writer, written} -> ok after 1_000 -> ct:fail("not all was read") end,
    pong = port_by_hand:ping(P),
    port_by_hand:close(P).

turn(P) ->
    signal("USR1", port_by_hand:pid(P)).

signal(Name, Pid) ->
    _ = port_by_hand:command(os:find_executable("kill"), ["-" ++ Name, integer_to_list(Pid)]),
    ok.

%%% Limits of the system, and ours

exhausted_descriptors_harm_new_connections_only(Config) ->
    Worker = start_worker(Config),
    Shell = lists:concat(["ulimit -n 24; exec ", port_by_hand:program(), " port 2>/dev/null"]),
    P = port_by_hand:open("/bin/sh", ["-c", Shell]),
    Target = port_by_hand:worker_target(Worker),
    Ids = [<<"w", (integer_to_binary(N))/binary>> || N <- lists:seq(1, 40)],
    [port_by_hand:send(P, {connect, Id, Id, Target, #{ready_timeout => 500}}) || Id <- Ids],
    [{ok, Id, #{}, #{}} = port_by_hand:terminal(P, Id, 1_000) || Id <- Ids],
    States = maps:from_list([{Id, settled(P, Id)} || Id <- Ids]),
    Ready = [Id || {Id, ready} <- maps:to_list(States)],
    report("~b of 40 connections with 24 descriptors", [length(Ready)]),
    ?assert(length(Ready) > 0),
    ?assert(length(Ready) < 40),
    [serves(P, Id) || Id <- Ready],
    %% Room again: the unreachable ones are ready within their back-off.
    [Unreachable | _] = Ids -- Ready,
    [
        begin
            port_by_hand:send(P, {disconnect, {d, Id}, Id, now}),
            {ok, {d, Id}, #{}, #{}} = port_by_hand:terminal(P, {d, Id}, 1_000)
        end
     || Id <- Ids, Id =/= Unreachable
    ],
    Wanted = fun(Event) -> element(1, Event) =:= worker andalso element(2, Event) =:= Unreachable andalso element(3, Event) =:= ready end,
    _ = port_by_hand:await(P, Wanted, 3_000),
    serves(P, Unreachable),
    done(P, Worker).

settled(P, Id) ->
    {worker, Id, State, _} = port_by_hand:await(
        P,
        fun
            ({worker, Which, State, _}) -> Which =:= Id andalso (State =:= ready orelse State =:= unreachable);
            (_) -> false
        end,
        5_000
    ),
    State.

full_queue_refuses_and_goes_on(_Config) ->
    Worker = port_by_hand:start_worker([]),
    P = port_by_hand:open(["--max-queue", "10"]),
    connect(P, <<"narrow">>, Worker, #{max_concurrent => 1}),
    connect(P, <<"wide">>, Worker),
    Running = port_by_hand:stream(P, <<"narrow">>, <<"count">>, #{}, #{credit => 1, timeout => infinity}),
    [_] = port_by_hand:chunks(P, Running, 1, 1_000),
    Waiting = [port_by_hand:call(P, <<"narrow">>, <<"echo">>, #{}, #{timeout => infinity}) || _ <- lists:seq(1, 9)],
    Impatient = port_by_hand:call(P, <<"narrow">>, <<"echo">>, #{}, #{timeout => 1000}),
    TooMany = port_by_hand:call(P, <<"narrow">>, <<"echo">>, #{}),
    #{sent := false} = port_by_hand:fails(port_by_hand:terminal(P, TooMany, 2_000), resource_exhausted, mux, queue_full),
    serves(P, <<"wide">>),
    #{sent := false} = port_by_hand:fails(port_by_hand:terminal(P, Impatient, 2_000), deadline_exceeded, mux, deadline),
    [Cancelled | Others] = Waiting,
    port_by_hand:send(P, {cancel, Cancelled}),
    #{sent := false} = port_by_hand:fails(port_by_hand:terminal(P, Cancelled, 2_000), cancelled, mux, cancelled),
    Again = [port_by_hand:call(P, <<"narrow">>, <<"echo">>, #{}) || _ <- [1, 2]],
    port_by_hand:send(P, {cancel, Running}),
    {_, {error, Running, #{code := cancelled}}} = port_by_hand:collect(P, Running, 1_000),
    [{ok, Tag, #{}, _} = port_by_hand:terminal(P, Tag, 2_000) || Tag <- Others ++ Again],
    done(P, Worker).

large_messages_both_ways(Config) ->
    Worker = start_worker(Config),
    P = port_by_hand:open(),
    connect(P, <<"w">>, Worker),
    Large = binary:copy(<<"0123456789abcdef">>, 4 * ?MIB - 64),
    Tags = [port_by_hand:call(P, <<"w">>, <<"echo">>, #{<<"x">> => Large}) || _ <- [1, 2]],
    pong = port_by_hand:ping(P),
    [
        begin
            {ok, Tag, #{<<"x">> := Echo}, _} = port_by_hand:terminal(P, Tag, 15_000),
            ?assertEqual(erlang:md5(Large), erlang:md5(Echo))
        end
     || Tag <- Tags
    ],
    TooLarge = port_by_hand:call(P, <<"w">>, <<"echo">>, #{<<"x">> => <<Large/binary, Large/binary>>}),
    Refused = port_by_hand:fails(port_by_hand:terminal(P, TooLarge, 5_000), resource_exhausted, mux, too_large),
    ?assertMatch(#{sent := false}, Refused),
    done(P, Worker).

%% Two bytes on the wire for each entry of a map, a hundred in memory.
answer_of_a_million_entries_is_bounded(_Config) ->
    Worker = port_by_hand:start_worker([]),
    P = port_by_hand:open(["--max-message", "4MiB"]),
    connect(P, <<"w">>, Worker),
    Before = port_by_hand:rss(port_by_hand:pid(P)),
    Tag = port_by_hand:call(P, <<"w">>, <<"many_entries">>, #{<<"count">> => <<"2000000">>}),
    port_by_hand:fails(port_by_hand:terminal(P, Tag, 5_000), internal, worker, decode),
    Grown = port_by_hand:rss(port_by_hand:pid(P)) - Before,
    report("~b MiB after an answer of two million entries", [Grown div ?MIB]),
    port_by_hand:sanitized() orelse ?assert(Grown < 48 * ?MIB),
    Fewer = port_by_hand:call(P, <<"w">>, <<"many_entries">>, #{<<"count">> => <<"50000">>}),
    {ok, Fewer, #{<<>> := <<>>}, _} = port_by_hand:terminal(P, Fewer, 5_000),
    done(P, Worker).

calls_over_the_limit_are_refused(_Config) ->
    Worker = port_by_hand:start_worker([]),
    P = port_by_hand:open(["--max-calls", "5"]),
    connect(P, <<"w">>, Worker),
    Streams = open_streams(P, 5, <<"count">>, #{}, 1),
    TooMany = port_by_hand:call(P, <<"w">>, <<"echo">>, #{}),
    port_by_hand:fails(port_by_hand:terminal(P, TooMany, 2_000), resource_exhausted, mux, too_many_calls),
    [port_by_hand:send(P, {cancel, Tag}) || Tag <- Streams],
    [{_, {error, Tag, #{code := cancelled}}} = port_by_hand:collect(P, Tag, 1_000) || Tag <- Streams],
    serves(P, <<"w">>),
    done(P, Worker).

%%% Helpers

connect(P, Id, Worker) ->
    connect(P, Id, Worker, #{}).

%% A worker that is silent behind a burst of work would be told of in between.
connect(P, Id, Worker, Opts) ->
    port_by_hand:connect(P, Id, Worker, maps:merge(#{health_interval => off}, Opts)),
    [] = port_by_hand:strays(P).

open_streams(P, N, Command, Args, Credit) ->
    Opts = #{timeout => infinity, credit => Credit},
    Tags = [make_ref() || _ <- lists:seq(1, N)],
    port_by_hand:send(P, [{execute_stream, Tag, {worker, <<"w">>}, Command, Args, Opts} || Tag <- Tags]),
    Tags.

serves(P, Id) ->
    Tag = port_by_hand:call(P, Id, <<"echo">>, #{<<"a">> => <<"b">>}),
    {ok, Tag, #{<<"a">> := <<"b">>}, _} = port_by_hand:terminal(P, Tag, 2_000).

%% A hundred at once.
echo_calls(_P, 0) ->
    ok;
echo_calls(P, N) ->
    Tags = [port_by_hand:call(P, <<"w">>, <<"echo">>, #{<<"a">> => <<"b">>}) || _ <- lists:seq(1, 1000)],
    [{ok, _, #{<<"a">> := <<"b">>}, _} = port_by_hand:take(P, 10_000) || _ <- Tags],
    echo_calls(P, N - 100).

rss_of(P, Worker) ->
    Guardian = port_by_hand:worker_pid(Worker),
    [port_by_hand:rss(port_by_hand:pid(P)), port_by_hand:rss(youngest(Guardian))].

%% The guardian's watcher forks once more; the worker is the last of the line.
youngest(Pid) ->
    Name = lists:concat(["/proc/", Pid, "/task/", Pid, "/children"]),
    {ok, Children} = file:read_file(Name),
    case string:lexemes(Children, " \n") of
        [] -> Pid;
        [Child | _] -> youngest(binary_to_integer(Child))
    end.

%% The memory of a process has not moved by a MiB in 50 looks.
is_steady(Pid) ->
    port_by_hand:until(fun() -> is_steady(Pid, port_by_hand:rss(Pid), 50) end, 20_000).

is_steady(_Pid, _Was, 0) ->
    true;
is_steady(Pid, Was, Looks) ->
    timer:sleep(10),
    Is = port_by_hand:rss(Pid),
    abs(Is - Was) < ?MIB andalso is_steady(Pid, Was, Looks - 1).

%% The largest size that a process is seen to have.
watch_rss(P) ->
    Pid = port_by_hand:pid(P),
    spawn_link(fun() -> watch_rss(Pid, 0) end).

watch_rss(Pid, Peak) ->
    receive
        {peak, From} -> From ! {self(), Peak}
    after 5 ->
        watch_rss(Pid, max(Peak, port_by_hand:rss(Pid)))
    end.

rss_peak(Watch) ->
    Watch ! {peak, self()},
    receive
        {Watch, Peak} -> Peak
    end.

report(Format, Args) ->
    ct:comment(Format, Args),
    ct:pal(Format, Args).

done(P, Worker) ->
    port_by_hand:close(P),
    port_by_hand:stop_worker(Worker).
