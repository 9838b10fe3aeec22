%% A C program on the pipes of another one that sends back what has come: the copies and wake-ups that nobody can do without.
-module(bench_floor).
-behaviour(bench_contestant).

-export([start/1, os_pids/1, worker_os_pids/1, run/3, stop/1]).

start(#{programs := Dir} = Setup) -> bench_pipe:start(Setup, [filename:join(Dir, "echo_port")]).
os_pids(Port) -> bench_pipe:os_pids(Port).
worker_os_pids(Port) -> bench_pipe:worker_os_pids(Port).
run(Port, Work, Ms) -> bench_pipe:run(Port, Work, Ms).
stop(Port) -> bench_pipe:stop(Port).
