%% A {packet, 4} port to a C program that echoes, or pushes: no port program can be faster.
-module(bench_echo).
-behaviour(bench_contestant).

-export([start/1, os_pids/1, run/3, stop/1]).

start(#{programs := Dir}) ->
    open_port({spawn_executable, filename:join(Dir, "echo_port")}, [{packet, 4}, binary, exit_status]).

os_pids(Port) -> bench_bare:os_pids(Port).

run(Port, {unary, InFlight, Size}, Ms) ->
    Data = binary:copy(<<"x">>, Size),
    Start = erlang:monotonic_time(microsecond),
    [send(Port, Data) || _ <- lists:seq(1, InFlight)],
    {Done, Latencies} = echo(Port, Data, Start + Ms * 1000, InFlight, 0, []),
    bench_contestant:result(Done, Ms / 1000, Latencies);
run(Port, {stream, _, Size}, Ms) ->
    %% Two pushes ahead, so that the program never waits for us.
    Count = max(2, min(10000, 16 * 1024 * 1024 div max(1, Size))),
    Start = erlang:monotonic_time(microsecond),
    push(Port, Count, Size),
    push(Port, Count, Size),
    bench_contestant:result(pushed(Port, Start + Ms * 1000, Count, Size, Count, 2, 0), Ms / 1000, []).

send(Port, Data) ->
    port_command(Port, term_to_binary({erlang:monotonic_time(microsecond), Data})).

echo(_, _, _, 0, Done, Latencies) ->
    {Done, Latencies};
echo(Port, Data, End, Running, Done, Latencies) ->
    receive
        {Port, {data, Frame}} ->
            {Sent, _} = binary_to_term(Frame),
            case erlang:monotonic_time(microsecond) of
                Now when Now < End ->
                    send(Port, Data),
                    echo(Port, Data, End, Running, Done + 1, [Now - Sent | Latencies]);
                _ ->
                    echo(Port, Data, End, Running - 1, Done, Latencies)
            end
    end.

push(Port, Count, Size) ->
    port_command(Port, <<"P", Count:32, Size:32>>).

pushed(_, _, _, _, _, 0, Done) ->
    Done;
pushed(Port, End, Count, Size, Left, Pushes, Done0) ->
    receive
        {Port, {data, Frame}} when byte_size(Frame) =:= Size ->
            Now = erlang:monotonic_time(microsecond),
            Done = case Now < End of true -> Done0 + 1; false -> Done0 end,
            if
                Left > 1 -> pushed(Port, End, Count, Size, Left - 1, Pushes, Done);
                Now < End -> push(Port, Count, Size), pushed(Port, End, Count, Size, Count, Pushes, Done);
                true -> pushed(Port, End, Count, Size, Count, Pushes - 1, Done)
            end
    end.

stop(Port) ->
    true = port_close(Port),
    ok.
