%% A C program on the pipes of an old worker, one request at a time: the worker alone, without a pool.
-module(bench_pipe).
-behaviour(bench_contestant).

-export([start/1, os_pids/1, worker_os_pids/1, run/3, stop/1]).
-export([start/2]).

start(Setup) ->
    {Program, Args} = bench_pool:old_worker(),
    start(Setup, [Program | Args]).

%% @doc In front of any program that answers frames.
-spec start(bench_contestant:setup(), [string()]) -> port().
start(#{programs := Dir}, Command) ->
    open_port({spawn_executable, filename:join(Dir, "pipe")}, [{args, Command}, {line, 1024}, exit_status]).

os_pids(Port) -> bench_bare:os_pids(Port).

worker_os_pids(Port) -> lists:append([bench_cpu:children(Pid) || Pid <- os_pids(Port)]).

run(Port, Work, Ms) -> bench_bare:run(Port, Work, Ms).

stop(Port) -> bench_bare:stop(Port).
