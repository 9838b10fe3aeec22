%% The old pipes with MessagePack, one pool with as many old workers as are asked for; as many callers as calls in flight.
%% Callers pack their arguments and read the result, as they do not have to with snakemux.
-module(bench_pool_msgpack).
-behaviour(bench_contestant).

-export([start/1, os_pids/1, worker_os_pids/1, run/3, stop/1]).

-define(BYTES_FROM, 65536). %% what is that large is bytes, not text

start(#{workers := Count}) ->
    {Program, Args} = bench_pool:old_worker(),
    {ok, Pool} = bench_pool:start_link(Program, Args, Count),
    Pool.

os_pids(_) -> [].

worker_os_pids(Pool) -> bench_pool:os_pids(Pool).

run(Pool, {unary, Callers, Size}, Ms) ->
    Bytes = binary:copy(<<"x">>, Size),
    Data = case Size >= ?BYTES_FROM of true -> {bin, Bytes}; false -> Bytes end,
    bench_callers:run(Callers, Ms, fun() -> #{<<"data">> := Bytes} = echo(Pool, #{<<"data">> => Data}) end).

echo(Pool, Args) ->
    Frame = bench_msgpack:pack(#{<<"id">> => 5, <<"command">> => <<"echo">>, <<"args">> => Args}),
    #{<<"success">> := true, <<"result">> := #{<<"echoed">> := Result}} = bench_msgpack:unpack(bench_pool:call(Pool, Frame)),
    Result.

stop(Pool) -> bench_pool:stop(Pool).
