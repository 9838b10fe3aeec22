%% snakemux through Port.open by hand: one process that writes and reads, several commands and events in one frame.
-module(bench_hand).
-behaviour(bench_contestant).

-export([start/1, os_pids/1, run/3, stop/1]).
-export([send/2, events/1, list/1, await/3]).

-define(WINDOW, 256). %% chunks on their way to a consumer; more are asked for when half of them have come

%% `arguments` only when the program is run by another one.
start(#{targets := Targets, snakemux := Program} = Setup) ->
    Arguments = maps:get(arguments, Setup, []),
    Port = open_port({spawn_executable, Program}, [{args, Arguments}, {packet, 4}, binary, exit_status]),
    {hello, 1, _} = next(Port),
    send(Port, {options, options, #{batch => true}}),
    {ok, options, _, _} = next(Port),
    send(Port, [{connect, connect, Target, Target, #{}} || Target <- [list_to_binary(T) || T <- Targets]]),
    ready(Port, length(Targets)),
    Port.

ready(_, 0) ->
    ok;
ready(Port, Workers) ->
    Events = events(Port),
    [error(Error) || {error, _, Error} <- Events],
    ready(Port, Workers - length([ready || {worker, _, ready, _} <- Events])).

os_pids(Port) -> bench_bare:os_pids(Port).

run(Port, {unary, InFlight, Size}, Ms) ->
    Args = #{<<"data">> => bench_contestant:data(Size)},
    Start = erlang:monotonic_time(microsecond),
    send(Port, [call(N, Start, Args) || N <- lists:seq(1, InFlight)]),
    {Done, Latencies} = unary(Port, Args, Start + Ms * 1000, InFlight, 0, []),
    bench_contestant:result(Done, Ms / 1000, Latencies);
run(Port, {stream, Streams, Size}, Ms) ->
    Args = #{<<"count">> => <<"1000000000">>, <<"size">> => integer_to_binary(Size)},
    End = erlang:monotonic_time(microsecond) + Ms * 1000,
    send(Port, [{execute_stream, N, any, <<"chunks">>, Args, #{credit => ?WINDOW, timeout => infinity}}
                || N <- lists:seq(1, Streams)]),
    Left = maps:from_list([{N, ?WINDOW div 2} || N <- lists:seq(1, Streams)]),
    bench_contestant:result(stream(Port, End, Left, Streams, 0), Ms / 1000, []).

call(N, Now, Args) ->
    {execute, {N, Now}, any, <<"echo">>, Args, #{}}.

unary(_, _, _, 0, Done, Latencies) ->
    {Done, Latencies};
unary(Port, Args, End, Running, Done, Latencies) ->
    Events = events(Port),
    Now = erlang:monotonic_time(microsecond),
    Calls = [Tag || {ok, Tag, #{<<"data">> := _}, _} <- Events],
    length(Calls) =:= length(Events) orelse error({unexpected, Events -- Calls}),
    case Now < End of
        true ->
            send(Port, [call(N, Now, Args) || {N, _} <- Calls]),
            More = lists:foldl(fun({_, Sent}, All) -> [Now - Sent | All] end, Latencies, Calls),
            unary(Port, Args, End, Running, Done + length(Calls), More);
        false ->
            unary(Port, Args, End, Running - length(Calls), Done, Latencies)
    end.

stream(_, _, _, 0, Done) ->
    Done;
stream(Port, End, Left0, Running, Done0) ->
    Events = events(Port),
    case erlang:monotonic_time(microsecond) < End of
        true ->
            {Left, Commands} = lists:foldl(fun take/2, {Left0, []}, Events),
            Commands =:= [] orelse send(Port, Commands),
            stream(Port, End, Left, Running, Done0 + length(Events));
        false ->
            Left0 =:= #{} orelse send(Port, [{cancel, N} || N <- maps:keys(Left0)]),
            Ended = length([N || {error, N, #{code := cancelled}} <- Events]),
            stream(Port, End, #{}, Running - Ended, Done0)
    end.

take({chunk, N, #{<<"data">> := _}}, {Left, Commands}) ->
    case Left of
        #{N := 1} -> {Left#{N := ?WINDOW div 2}, [{credit, N, ?WINDOW div 2} | Commands]};
        #{N := More} -> {Left#{N := More - 1}, Commands}
    end;
take(Other, _) ->
    error({unexpected, Other}).

%% @doc The next frame's events.
-spec events(port()) -> [tuple()].
events(Port) -> list(next(Port)).

%% @doc Takes events until so many have fulfilled the condition.
-spec await(port(), non_neg_integer(), fun((tuple()) -> boolean())) -> ok.
await(_, Left, _) when Left =< 0 -> ok;
await(Port, Left, Fun) -> await(Port, Left - length([E || E <- events(Port), Fun(E)]), Fun).

%% @doc The events of a frame, which holds one or a list of them.
-spec list(tuple() | [tuple()]) -> [tuple()].
list(Events) when is_list(Events) -> Events;
list(Event) -> [Event].

-spec send(port(), tuple() | [tuple()]) -> true.
send(Port, Term) ->
    port_command(Port, term_to_binary(Term)).

next(Port) ->
    receive
        {Port, {data, Frame}} -> binary_to_term(Frame);
        {Port, {exit_status, Status}} -> error({snakemux, Status})
    end.

stop(Port) ->
    true = port_close(Port),
    ok.
