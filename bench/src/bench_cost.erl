%% Instructions of the port program for each call, counted by callgrind: not a timing, so a busy machine doesn't matter.
%% Two runs that differ only in the number of calls: the difference is what the calls cost, without start and end.
-module(bench_cost).

-export([main/0]).

-define(FEW, 2000).
-define(MANY, 6000).

-spec main() -> no_return().
main() ->
    {Pid, Monitor} = spawn_monitor(fun() -> exit(run(init:get_plain_arguments())) end),
    receive
        {'DOWN', Monitor, process, Pid, Status} when is_integer(Status) -> halt(Status);
        {'DOWN', Monitor, process, Pid, Reason} ->
            io:format(standard_error, "cost: ~p~n", [Reason]),
            halt(1)
    end.

run(["write", File, Versions]) ->
    Costs = costs(),
    [io:format("~-12s~8b instructions~n", [Name, Cost]) || {Name, Cost} <- Costs],
    ok = file:write_file(File, budget(Versions, Costs)),
    0;
%% The budget holds for the versions written in it; with others it is only told.
run(["check", File, Versions]) ->
    {ok, [Budget]} = file:consult(File),
    Same = maps:get(versions, Budget) =:= Versions,
    Over = [Name || {Name, Cost} <- costs(), over(Name, Cost, maps:get(Name, Budget), Same)],
    case {Over, Same} of
        {_, false} ->
            io:format("not judged: the budget is that of ~ts, here is ~ts~n", [maps:get(versions, Budget), Versions]),
            0;
        {[], true} -> 0;
        {_, true} -> io:format("over the budget of bench/~ts: ~p~n", [File, Over]), 1
    end.

budget(Versions, Costs) ->
    Lines = [io_lib:format("  ~p => ~b", [Name, Cost]) || {Name, Cost} <- Costs],
    ["%% Instructions of the port program for each call or chunk; `make -C bench cost BUDGET=write` wrote it.\n",
     "#{versions => \"", Versions, "\",\n", lists:join(",\n", Lines), "}.\n"].

costs() ->
    Worker = bench_worker:start(#{transport => unix, worker => c}),
    Setup = #{targets => [bench_worker:target(Worker)]},
    Costs = [{Name, cost(Setup, Work)} || {Name, Work} <- works()],
    bench_worker:stop(Worker),
    Costs.

%% Not one call at a time: while it waits the port program looks whether there is more, as often as the clock lets it.
works() ->
    [{unary_16, {unary, 16, 16}}, {unary_64, {unary, 64, 16}}, {chunk_100, {stream, 1, 100}}].

%% One percent is what runs on one image differ by: how often the program had to wait hangs on the machine.
over(Name, Cost, Budget, Same) ->
    Over = Same andalso Cost > Budget * 1.03,
    io:format("~-12s~8b instructions, budget ~b~ts~n", [Name, Cost, Budget, case Over of true -> ": OVER"; false -> "" end]),
    Over.

cost(Setup, Work) ->
    round((count(Setup, Work, ?MANY) - count(Setup, Work, ?FEW)) / (?MANY - ?FEW)).

count(Setup, Work, Calls) ->
    File = filename:join(os:getenv("BENCH_PROGRAMS"), "callgrind.out"),
    Arguments = ["--tool=callgrind", "--callgrind-out-file=" ++ File, os:getenv("SNAKEMUX_PROGRAM")],
    Port = bench_hand:start(Setup#{snakemux => os:find_executable("valgrind"), arguments => ["-q" | Arguments]}),
    script(Port, Work, Calls),
    [Pid] = bench_hand:os_pids(Port),
    bench_hand:stop(Port),
    await_end(Pid),
    {ok, Text} = file:read_file(File),
    {match, [Total]} = re:run(Text, "^(?:summary|totals): (\\d+)", [multiline, {capture, all_but_first, list}]),
    list_to_integer(Total).

await_end(Pid) ->
    case filelib:is_dir("/proc/" ++ integer_to_list(Pid)) of
        true -> timer:sleep(20), await_end(Pid);
        false -> ok
    end.

%% Always so many calls at once, all of which have ended before the next ones begin.
script(Port, {unary, Together, Size}, Calls) ->
    Args = #{<<"data">> => bench_contestant:data(Size)},
    [begin
        bench_hand:send(Port, [{execute, N, any, <<"echo">>, Args, #{}} || N <- lists:seq(1, Together)]),
        bench_hand:await(Port, Together, fun({ok, _, _, _}) -> true end)
    end || _ <- lists:seq(1, Calls div Together)];
script(Port, {stream, 1, Size}, Chunks) ->
    Args = #{<<"count">> => integer_to_binary(Chunks), <<"size">> => integer_to_binary(Size)},
    bench_hand:send(Port, {execute_stream, 1, any, <<"chunks">>, Args, #{credit => infinity}}),
    bench_hand:await(Port, 1, fun({done, _, _}) -> true; ({chunk, _, _}) -> false end).
