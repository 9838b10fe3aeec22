%% What is not a rate: memory of idle streams, the time of many cancels, the first answer, fairness beside big replies and arguments.
%% Each runs once with snakemux alone and prints what it has found.
-module(bench_extra).

-export([all/1]).

-export_type([finding/0]).

-define(STREAMS, 10000).
-define(BLOB, (67108864 - 4096)). %% with its frame it is one message of 64 MiB
-define(SMALL_CALLS_MS, 3000).

-type finding() :: {Name :: atom(), Text :: iodata(), Value :: number()}.

%% @doc Runs all of them.
-spec all(bench_contestant:setup()) -> [finding()].
all(Setup) ->
    Findings = lists:append([in_process(Fun, Setup) || Fun <- [fun first_answer/1, fun idle/1, fun idle_streams/1, fun fairness/1]]),
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

%% Small calls, one at a time, beside replies and beside arguments of 64 MiB that follow one another on the same port.
fairness(Setup) ->
    State = {Mux, _, _} = bench_api:start(Setup),
    #{p50 := Alone50, p99 := Alone99} = bench_api:run(State, {unary, 1, 16}, ?SMALL_CALLS_MS),
    Beside = fun(Args) ->
        Big = spawn_link(fun() -> blobs(Mux, Args) end),
        timer:sleep(200),
        Result = bench_api:run(State, {unary, 1, 16}, ?SMALL_CALLS_MS),
        unlink(Big),
        exit(Big, kill),
        Result
    end,
    #{p50 := Replies50, p99 := Replies99} = Beside(#{<<"size">> => integer_to_binary(?BLOB)}),
    #{p50 := Arguments50, p99 := Arguments99} = Beside(#{<<"size">> => <<"1">>, <<"data">> => binary:copy(<<"x">>, ?BLOB)}),
    bench_api:stop(State),
    [{alone_p50_us, "a small call alone: median, us", Alone50}, {alone_p99_us, "p99, us", Alone99},
     {beside_p50_us, "beside 64 MiB replies: median, us", Replies50}, {beside_p99_us, "p99, us", Replies99},
     {arguments_p50_us, "beside 64 MiB arguments: median, us", Arguments50}, {arguments_p99_us, "p99, us", Arguments99}].

blobs(Mux, Args) ->
    {ok, #{<<"data">> := _}} = snakemux:execute(Mux, <<"blob">>, Args, #{codec => raw}),
    erlang:garbage_collect(),
    blobs(Mux, Args).
