%% The Erlang API with its default codec: values are terms, which the port program carries as JSON or MessagePack.
-module(bench_terms).
-behaviour(bench_contestant).

-export([start/1, os_pids/1, run/3, stop/1]).

-define(BYTES_FROM, 65536). %% what is that large is bytes, not text, where MessagePack carries it

start(#{worker := Worker} = Setup) -> {Worker, bench_api:start(Setup)}.

os_pids({_, State}) -> bench_api:os_pids(State).

run({Worker, State}, {unary, _, Size} = Work, Ms) ->
    bench_api:run(State, Work, Ms, #{<<"data">> => data(Worker, Size)}, #{});
run({_, State}, {stream, _, Size} = Work, Ms) ->
    bench_api:run(State, Work, Ms, #{<<"count">> => 1000000000, <<"size">> => Size}, #{}).

data(c, Size) -> binary:copy(<<"x">>, max(0, Size - 2)); %% gets its quotes on the way
data(_, Size) when Size >= ?BYTES_FROM -> {bin, binary:copy(<<"x">>, Size)};
data(_, Size) -> binary:copy(<<"x">>, Size).

stop({_, State}) -> bench_api:stop(State).
