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

%% The budget holds for the versions written in it; with others it is only told.
run([BudgetFile, Versions]) ->
    {ok, [Budget]} = file:consult(BudgetFile),
    Same = maps:get(versions, Budget) =:= Versions,
    Worker = bench_worker:start(#{transport => unix, worker => c}),
    Setup = #{targets => [bench_worker:target(Worker)]},
    Over = [Name || {Name, Work} <- works(), over(Name, cost(Setup, Work), maps:get(Name, Budget, none), Same)],
    bench_worker:stop(Worker),
    case Over of
        [] -> 0;
        _ when Same -> io:format("over the budget of ~ts~n", [BudgetFile]), 1;
        _ -> io:format("the budget is that of other versions: ~ts here~n", [Versions]), 0
    end.

works() ->
    [{unary_1, {unary, 1, 16}}, {unary_16, {unary, 16, 16}}, {unary_64, {unary, 64, 16}}, {chunk_100, {stream, 1, 100}}].

%% A percent is what runs on one image differ by.
over(Name, Cost, none, _) ->
    io:format("~-12s~8b instructions, no budget~n", [Name, Cost]),
    false;
over(Name, Cost, Budget, Same) ->
    io:format("~-12s~8b instructions, budget ~b~ts~n",
              [Name, Cost, Budget, case Same of true -> ""; false -> " (of other versions)" end]),
    Cost > Budget * 1.01.

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
