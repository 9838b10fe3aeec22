%% The bare C core client with the channel arguments of the port program.
-module(bench_tuned).
-behaviour(bench_contestant).

-export([start/1, os_pids/1, run/3, stop/1]).

start(Setup) -> bench_bare:start(Setup, ["--tuned"]).
os_pids(Port) -> bench_bare:os_pids(Port).
run(Port, Work, Ms) -> bench_bare:run(Port, Work, Ms).
stop(Port) -> bench_bare:stop(Port).
