%% The Erlang API with its default codec: values are terms, which the port program carries as JSON.
-module(bench_terms).
-behaviour(bench_contestant).

-export([start/1, os_pids/1, run/3, stop/1]).

start(Setup) -> bench_api:start(?MODULE, Setup).
os_pids(State) -> bench_api:os_pids(State).
run(State, Work, Ms) -> bench_api:run(State, Work, Ms, #{}).
stop(State) -> bench_api:stop(State).
