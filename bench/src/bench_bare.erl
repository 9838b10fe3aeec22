%% The bare C core client with stock channel arguments, a program that takes its work as lines.
-module(bench_bare).
-behaviour(bench_contestant).

-export([start/1, os_pids/1, run/3, stop/1]).
-export([start/2]).

start(Setup) -> start(Setup, []).

-spec start(bench_contestant:setup(), [string()]) -> port().
start(#{targets := Targets, programs := Dir}, Options) ->
    open_port({spawn_executable, filename:join(Dir, "bare")},
              [{args, lists:append([["--target", Target] || Target <- Targets]) ++ Options}, {line, 1024}, exit_status]).

os_pids(Port) ->
    {os_pid, Pid} = erlang:port_info(Port, os_pid),
    [Pid].

run(Port, {Kind, InFlight, Size}, Ms) ->
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
