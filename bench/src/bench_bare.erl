%% The bare C core client with stock channel arguments, a program that takes its work as lines.
-module(bench_bare).
-behaviour(bench_contestant).

-export([start/1, os_pids/1, run/3, stop/1]).
-export([start/2]).

start(Setup) -> start(Setup, []).

-spec start(bench_contestant:setup(), [string()]) -> port().
start(#{targets := Targets, programs := Dir, worker := Worker}, Options) ->
    Args = lists:append([["--target", Target] || Target <- Targets]) ++ ["--codec", codec(Worker)] ++ Options,
    open_port({spawn_executable, filename:join(Dir, "bare")}, [{args, Args}, {line, 1024}, exit_status]).

%% Each worker gets what it prefers.
codec(c) -> "json";
codec(_) -> "msgpack".

os_pids(Port) ->
    {os_pid, Pid} = erlang:port_info(Port, os_pid),
    [Pid].

run(Port, {stream, _, _} = Work, Ms) ->
    Result = work(Port, Work, Ms),
    %% Megabytes that the worker sent before it heard of the end may still be in the socket. Answers come behind them.
    _ = work(Port, {unary, 16, 16}, 1),
    Result;
run(Port, Work, Ms) ->
    work(Port, Work, Ms).

work(Port, {Kind, InFlight, Size}, Ms) ->
    port_command(Port, io_lib:format("~s ~b ~b ~b 0~n", [Kind, InFlight, Size, Ms])),
    receive
        {Port, {data, {eol, Line}}} -> result(maps:from_list(pairs(string:lexemes(Line, " "))));
        {Port, {exit_status, Status}} -> error({bare, Status})
    end.

result(#{"failed" := "0", "done" := Done, "seconds" := Seconds, "p50_us" := P50, "p99_us" := P99}) ->
    #{done => list_to_integer(Done), seconds => list_to_float(Seconds), p50 => list_to_integer(P50),
      p99 => list_to_integer(P99)};
result(Other) -> error({bare, Other}).

pairs([Key, Value | Rest]) -> [{Key, Value} | pairs(Rest)];
pairs([]) -> [].

stop(Port) ->
    true = port_close(Port),
    ok.
