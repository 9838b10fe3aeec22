%% The least that callers can cost: one process owns the port and knows who waits for which answer, as many as there are
%% calls in flight wait. It has no options, watches nobody, and whoever waits when it ends waits for ever.
-module(bench_owner).
-behaviour(bench_contestant).

-export([start/1, os_pids/1, run/3, stop/1]).

start(Setup) ->
    Self = self(),
    Owner = spawn_link(fun() ->
        process_flag(message_queue_data, off_heap),
        process_flag(min_heap_size, 10000),
        Port = bench_hand:start(Setup),
        Self ! {self(), Port},
        own(Port, #{}, 0, [])
    end),
    receive {Owner, Port} -> {Owner, Port} end.

os_pids({_, Port}) -> bench_bare:os_pids(Port).

run({Owner, _}, {unary, Callers, Size}, Ms) ->
    Args = #{<<"data">> => bench_contestant:data(Size)},
    bench_callers:run(Callers, Ms, fun() ->
        Owner ! {call, self(), <<"echo">>, Args},
        receive {ok, #{<<"data">> := _}} -> ok end
    end).

%% Commands that are in the mailbox together go in one frame, as those of the application do.
own(Port, Waiting, N, Commands) ->
    receive
        {call, Caller, Command, Args} ->
            _ = Commands =/= [] orelse (self() ! write),
            own(Port, Waiting#{N => Caller}, N + 1, [{execute, N, any, Command, Args, #{}} | Commands]);
        write ->
            true = bench_hand:send(Port, Commands),
            own(Port, Waiting, N, []);
        {Port, {data, Frame}} ->
            own(Port, lists:foldl(fun answer/2, Waiting, bench_hand:list(binary_to_term(Frame))), N, Commands);
        stop ->
            bench_hand:stop(Port)
    end.

answer({ok, N, Result, _}, Waiting) ->
    {Caller, Rest} = maps:take(N, Waiting),
    Caller ! {ok, Result},
    Rest.

stop({Owner, _}) ->
    Owner ! stop,
    ok.
