%% As many Erlang processes as there are calls in flight; each calls, waits for the answer, and calls again.
-module(bench_callers).

-export([run/3]).

-spec run(pos_integer(), pos_integer(), fun(() -> term())) -> bench_contestant:result().
run(Callers, Ms, Call) ->
    Self = self(),
    End = erlang:monotonic_time(microsecond) + Ms * 1000,
    Pids = [spawn_link(fun() -> Self ! {self(), repeat(Call, End, 0, [])} end) || _ <- lists:seq(1, Callers)],
    {Done, Latencies} = lists:unzip([receive {Pid, Result} -> Result end || Pid <- Pids]),
    bench_contestant:result(lists:sum(Done), Ms / 1000, lists:append(Latencies)).

repeat(Call, End, Done, Latencies) ->
    Sent = erlang:monotonic_time(microsecond),
    _ = Call(),
    case erlang:monotonic_time(microsecond) of
        Now when Now < End -> repeat(Call, End, Done + 1, [Now - Sent | Latencies]);
        _ -> {Done, Latencies}
    end.
