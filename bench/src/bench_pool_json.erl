%% The old pipes with JSON. The frame is ready before it is measured, and the answer is not decoded: OTP has no JSON before 27.
-module(bench_pool_json).
-behaviour(bench_contestant).

-export([start/1, os_pids/1, worker_os_pids/1, run/3, stop/1]).

start(Setup) -> bench_pool_msgpack:start(Setup).
os_pids(Pool) -> bench_pool_msgpack:os_pids(Pool).
worker_os_pids(Pool) -> bench_pool_msgpack:worker_os_pids(Pool).

run(Pool, {unary, Callers, Size}, Ms) ->
    Frame = <<"{\"args\":{\"data\":\"", (binary:copy(<<"x">>, Size))/binary, "\"},\"command\":\"echo\",\"id\":5}">>,
    bench_callers:run(Callers, Ms, fun() -> true = byte_size(bench_pool:call(Pool, Frame)) > Size end).

stop(Pool) -> bench_pool_msgpack:stop(Pool).
