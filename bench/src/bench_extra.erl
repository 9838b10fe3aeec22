%% What is not a rate: memory of idle streams, the time of many cancels, the first answer, fairness beside big replies and arguments.
%% With snakemux alone; what is compared is done in turns, round after round. Prints what it has found.
-module(bench_extra).

-export([all/2]).

-export_type([finding/0]).

-define(STREAMS, 10000).
-define(BLOB, (67108864 - 4096)). %% with its frame it is one message of 64 MiB
-define(SMALL_CALLS_MS, 600).
-define(SETTLE_MS, 200).

-type finding() :: {Name :: atom(), Text :: iodata(), Value :: number()}.

%% @doc Runs all of them; so many rounds of those that are compared.
-spec all(bench_contestant:setup(), pos_integer()) -> [finding()].
all(Setup, Rounds) ->
    Fairness = fun(Given) -> fairness(Given, Rounds) end,
    Findings = lists:append([in_process(Fun, Setup) || Fun <- [fun first_answer/1, fun idle/1, fun idle_streams/1, Fairness]]),
    [io:format("  ~-58ts~12.1f~n", [Text, Value * 1.0]) || {_, Text, Value} <- Findings],
    Findings.

%% The port's messages go to a process of its own, and its memory with it.
in_process(Fun, Setup) ->
    Self = self(),
    Pid = spawn_link(fun() -> Self ! {self(), Fun(Setup)} end),
    receive {Pid, Findings} -> Findings end.

first_answer(Setup) ->
    Times = [begin
        Start = erlang:monotonic_time(microsecond),
        Port = bench_hand:start(Setup),
        bench_hand:send(Port, {execute, 1, any, <<"echo">>, #{<<"data">> => <<"1">>}, #{}}),
        [_] = [ok || {ok, 1, _, _} <- bench_hand:events(Port)],
        Time = erlang:monotonic_time(microsecond) - Start,
        bench_hand:stop(Port),
        Time
    end || _ <- lists:seq(1, 9)],
    [{first_answer_ms, "open_port to the first answer, ms", lists:nth(5, lists:sort(Times)) / 1000}].

%% Connected, and nobody calls.
idle(Setup) ->
    Port = bench_hand:start(Setup),
    [Pid] = bench_hand:os_pids(Port),
    Cpu = idle_cpu(Pid),
    bench_hand:stop(Port),
    [{idle_cpu_ms, "an idle port program: CPU time in one second, ms", Cpu}].

idle_cpu(Pid) ->
    Before = bench_cpu:seconds(Pid),
    timer:sleep(1000),
    (bench_cpu:seconds(Pid) - Before) * 1000.

idle_streams(Setup) ->
    Port = bench_hand:start(Setup),
    [Pid] = bench_hand:os_pids(Port),
    Args = #{<<"count">> => <<"1">>, <<"size">> => <<"16">>},
    Before = bench_cpu:memory(Pid),
    Start = erlang:monotonic_time(microsecond),
    bench_hand:send(Port, [{execute_stream, N, any, <<"hold">>, Args, #{timeout => infinity}} || N <- lists:seq(1, ?STREAMS)]),
    bench_hand:await(Port, ?STREAMS, fun({chunk, _, _}) -> true; (_) -> false end),
    Opened = erlang:monotonic_time(microsecond),
    Memory = bench_cpu:memory(Pid) - Before,
    Idle = idle_cpu(Pid),
    Cancel = erlang:monotonic_time(microsecond),
    bench_hand:send(Port, [{cancel, N} || N <- lists:seq(1, ?STREAMS)]),
    bench_hand:await(Port, ?STREAMS, fun({error, _, #{code := cancelled}}) -> true; (_) -> false end),
    Cancelled = erlang:monotonic_time(microsecond),
    bench_hand:stop(Port),
    [{stream_memory, "10,000 idle streams: bytes each in the port program", Memory / ?STREAMS},
     {open_ms, "10,000 streams opened, each with its first chunk, ms", (Opened - Start) / 1000},
     {streams_cpu_ms, "their CPU time in one second, ms", Idle},
     {cancel_ms, "10,000 streams cancelled, ms", (Cancelled - Cancel) / 1000}].

%% Small calls, one at a time: alone, and beside replies and arguments of 64 MiB that follow one another on the same port.
fairness(Setup, Rounds) ->
    State = {Mux, _, _} = bench_api:start(Setup),
    Replies = #{<<"size">> => integer_to_binary(?BLOB)},
    Arguments = #{<<"size">> => <<"1">>, <<"data">> => binary:copy(<<"x">>, ?BLOB)},
    Kinds = [fun idle_too/0, fun() -> blobs(Mux, Replies) end, fun() -> blobs(Mux, Arguments) end],
    Turns = [[small_calls(State, Beside) || Beside <- Kinds] || _ <- lists:seq(1, Rounds)],
    bench_api:stop(State),
    Value = fun(Nth, Key) -> bench_stats:median(bench_stats:values(Key, [lists:nth(Nth, Turn) || Turn <- Turns])) end,
    [{alone_p50_us, "a small call alone: median, us", Value(1, p50)}, {alone_p99_us, "p99, us", Value(1, p99)},
     {beside_p50_us, "beside 64 MiB replies: median, us", Value(2, p50)}, {beside_p99_us, "p99, us", Value(2, p99)},
     {arguments_p50_us, "beside 64 MiB arguments: median, us", Value(3, p50)}, {arguments_p99_us, "p99, us", Value(3, p99)}].

small_calls(State, Beside) ->
    Other = spawn_link(Beside),
    timer:sleep(?SETTLE_MS),
    Result = bench_api:run(State, {unary, 1, 16}, ?SMALL_CALLS_MS),
    unlink(Other),
    exit(Other, kill),
    Result.

idle_too() -> receive after infinity -> ok end.

blobs(Mux, Args) ->
    {ok, #{<<"data">> := _}} = snakemux:execute(Mux, <<"blob">>, Args, #{codec => raw}),
    erlang:garbage_collect(),
    blobs(Mux, Args).
