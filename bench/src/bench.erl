%% The harness: starts the workers and all contestants, then lets them do the same work in turns, round after round, so
%% that a noisy minute of the machine hits all of them. Prints tables and writes JSON.
-module(bench).

-export([main/0]).

-define(WARM_UP_MS, 150). %% before the first round of a kind of work
-define(AGAIN_MS, 50).    %% before each further one

-spec main() -> no_return().
main() ->
    %% A process of its own: whatever it is linked to may take it down, and the BEAM ends nevertheless.
    {Pid, Monitor} = spawn_monitor(fun() -> run(options(init:get_plain_arguments(), defaults())) end),
    receive
        {'DOWN', Monitor, process, Pid, normal} ->
            halt(0);
        {'DOWN', Monitor, process, Pid, {{nocatch, {usage, Text}}, _}} ->
            io:format(standard_error, "~ts~n~ts", [Text, usage()]),
            halt(2);
        {'DOWN', Monitor, process, Pid, Reason} ->
            io:format(standard_error, "bench: ~p~n", [Reason]),
            halt(1)
    end.

usage() ->
    "usage: make bench BENCH='[OPTION...]'\n"
    "  --set core|all|quick|native|python|extra  the kinds of work (core)\n"
    "  --contestants A,B      these only (those of the set)\n"
    "  --transport unix|tcp   to the worker in C (as the set has it)\n"
    "  --workers N            how many of it (as the set has it)\n"
    "  --rounds N  --ms N     of each kind of work (9 of 1000 ms)\n"
    "  --json FILE            where the figures go (bench.json in the build directory)\n".

defaults() ->
    #{set => core, contestants => bench_plan:names(), rounds => 9, ms => 1000,
      json => filename:join(programs(), "bench.json"), change => #{}}.

options([], Options) -> Options;
options(["--set", Set | Rest], Options) -> options(Rest, Options#{set => one_of(Set, bench_plan:sets())});
options(["--contestants", Names | Rest], Options) ->
    options(Rest, Options#{contestants => [one_of(Name, bench_plan:names()) || Name <- string:lexemes(Names, ",")]});
options(["--transport", Name | Rest], #{change := Change} = Options) ->
    options(Rest, Options#{change => Change#{transport => one_of(Name, [unix, tcp])}});
options(["--workers", N | Rest], #{change := Change} = Options) ->
    options(Rest, Options#{change => Change#{workers => number(N)}});
options(["--rounds", N | Rest], Options) -> options(Rest, Options#{rounds => number(N)});
options(["--ms", N | Rest], Options) -> options(Rest, Options#{ms => number(N)});
options(["--json", File | Rest], Options) -> options(Rest, Options#{json => File});
options([Other | _], _) -> throw({usage, ["what is ", Other, "?"]}).

one_of(Text, Allowed) ->
    case [Name || Name <- Allowed, atom_to_list(Name) =:= Text] of
        [Name] -> Name;
        [] -> throw({usage, io_lib:format("~ts is none of ~p", [Text, Allowed])})
    end.

number(Text) ->
    case string:to_integer(Text) of
        {N, ""} when N > 0 -> N;
        _ -> throw({usage, ["a number is wanted, not ", Text]})
    end.

run(#{set := Set, json := File, rounds := Rounds} = Given) ->
    Options = Given#{machine => bench_report:machine()},
    Wanted = plan(Options),
    Missing = missing(rows(Wanted)),
    Tables = [{Title, only(fun(#{worker := Kind}) -> not lists:member(Kind, Missing) end, Blocks)} || {Title, Blocks} <- Wanted],
    Workers = start_workers(rows(Tables) ++ [bench_plan:row(api) || bench_plan:has_extra(Set)]),
    io:format("~ts~n", [bench_report:head(Options)]),
    %% First: after half an hour of the rest small calls beside large replies are slower for minutes, also in a new VM.
    Extra = case bench_plan:has_extra(Set) of
        true -> bench_extra:all(setup(bench_plan:row(api), Workers, bench_extra), Rounds);
        false -> []
    end,
    Contestants = maps:from_list([{Row, start_contestant(Row, Workers, N)} || {N, Row} <- numbered(rows(Tables))]),
    io:format("~n"),
    [io:format("Without the ~p worker, which is not built here.~n~n", [Kind]) || Kind <- Missing],
    Results = [{Title, [result(Block, Contestants, Workers, Options) || Block <- Blocks]}
               || {Title, Blocks} <- Tables, io:format("~ts~n~n", [bench_report:title(Title)]) =:= ok],
    [bench_contestant:stop(Contestant) || Contestant <- maps:values(Contestants)],
    [bench_worker:stop(Worker) || Worker <- lists:append(maps:values(Workers))],
    Goals = bench_goals:judge(lists:append([Blocks || {_, Blocks} <- Results]), Extra),
    io:format("~n~ts~n", [bench_report:goals(Goals)]),
    ok = file:write_file(File, bench_json:encode(bench_report:data(Options, Results, Extra, Goals))),
    io:format("~ts~n", [File]).

%% What is said on the command line changes the rows with our worker in C.
plan(#{set := Set, contestants := Names, change := Change}) ->
    Chosen = fun(#{name := Name}) -> lists:member(Name, Names) end,
    [{Title, [{Work, [changed(Row, Change) || Row <- Rows]} || {Work, Rows} <- only(Chosen, Blocks)]}
     || {Title, Blocks} <- bench_plan:tables(Set)].

changed(#{worker := c} = Row, Change) -> maps:merge(Row, Change);
changed(Row, _) -> Row.

only(Condition, Blocks) ->
    [{Work, Left} || {Work, Rows} <- Blocks, Left <- [lists:filter(Condition, Rows)], Left =/= []].

rows(Tables) ->
    lists:usort([Row || {_, Blocks} <- Tables, {_, Rows} <- Blocks, Row <- Rows]).

numbered(List) -> lists:zip(lists:seq(1, length(List)), List).

%% What is not built has no lines.
missing(Rows) ->
    [native || lists:any(fun(#{worker := Kind}) -> Kind =:= native end, Rows), not bench_worker:has_native()].

%% As many of each kind as some row wants.
start_workers(Rows) ->
    Wanted = lists:foldl(fun(#{worker := Kind, transport := Transport, workers := Count}, All) ->
        maps:update_with({Kind, Transport}, fun(N) -> max(N, Count) end, Count, All)
    end, #{}, [Row || #{worker := Kind} = Row <- Rows, Kind =/= none]),
    maps:map(fun({Kind, Transport}, Count) ->
        [bench_worker:start(#{transport => Transport, worker => Kind}) || _ <- lists:seq(1, Count)]
    end, Wanted).

start_contestant(#{name := Name} = Row, Workers, N) ->
    bench_contestant:start(bench_plan:module(Name), setup(Row, Workers, list_to_atom("bench_" ++ integer_to_list(N)))).

setup(Row, Workers, Name) ->
    Row#{name := Name, targets => [bench_worker:target(Worker) || Worker <- workers(Row, Workers)],
         programs => programs(), snakemux => snakemux_program()}.

workers(#{worker := Kind, transport := Transport, workers := Count}, Workers) ->
    lists:sublist(maps:get({Kind, Transport}, Workers, []), Count).

programs() -> os:getenv("BENCH_PROGRAMS", ".").

snakemux_program() -> os:getenv("SNAKEMUX_PROGRAM", "../priv/snakemux").

result({Work, Rows}, Contestants, Workers, #{rounds := Rounds, ms := Ms}) ->
    Those = [{Row, maps:get(Row, Contestants), workers(Row, Workers)} || Row <- Rows],
    Result = {Work, measure(Work, Those, Rounds, Ms)},
    io:format("~ts~n", [bench_report:table(Result)]),
    Result.

%% Every second round goes backwards: nobody always comes after the same other one.
measure(Work, Contestants, Rounds, Ms) ->
    Turns = [begin
        Order = case N rem 2 of 0 -> lists:reverse(Contestants); 1 -> Contestants end,
        WarmUp = case N of 1 -> ?WARM_UP_MS; _ -> ?AGAIN_MS end,
        [{Row, turn(Work, Contestant, Workers, WarmUp, Ms)} || {Row, Contestant, Workers} <- Order]
    end || N <- lists:seq(1, Rounds)],
    [{Row, [proplists:get_value(Row, Turn) || Turn <- Turns]} || {Row, _, _} <- Contestants].

turn(Work, Contestant, Workers, WarmUp, Ms) ->
    _ = bench_contestant:run(Contestant, Work, WarmUp),
    #{worker := Own} = Pids = bench_contestant:os_pids(Contestant),
    Watched = maps:to_list(Pids#{worker := Own ++ lists:append([bench_worker:os_pids(Worker) || Worker <- Workers])}),
    Before = [cpu(P) || {_, P} <- Watched],
    Result = #{done := Done, seconds := Seconds} = bench_contestant:run(Contestant, Work, Ms),
    After = [cpu(P) || {_, P} <- Watched],
    Used = lists:zipwith3(fun({Who, _}, A, B) -> {Who, (B - A) * 1.0e6 / max(1, Done)} end, Watched, Before, After),
    maps:merge(Result#{rate => Done / Seconds}, maps:from_list(Used)).

cpu(Pids) -> lists:sum([bench_cpu:seconds(Pid) || Pid <- Pids]).
