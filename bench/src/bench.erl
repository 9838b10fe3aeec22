%% The harness: starts one worker and all contestants, then lets them do the same work in turns, round after round, so
%% that a noisy minute of the machine hits all of them. Prints a table and writes JSON.
-module(bench).

-export([main/0]).

-define(WARM_UP_MS, 150).

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
    "  --set core|all|quick|extra  the kinds of work (core)\n"
    "  --contestants A,B      of bare,tuned,api,terms,hand,echo (all but terms)\n"
    "  --transport unix|tcp   to the worker (unix)\n"
    "  --worker native|python which one (native)\n"
    "  --workers N            how many of them (1)\n"
    "  --rounds N  --ms N     of each kind of work (9 of 1000 ms)\n"
    "  --json FILE            where the figures go (bench.json in the build directory)\n".

defaults() ->
    #{set => core, contestants => [bare, tuned, api, hand, echo], transport => unix, worker => native, workers => 1, rounds => 9,
      ms => 1000, json => none}.

options([], Options) -> Options;
options(["--set", Set | Rest], Options) -> options(Rest, Options#{set => one_of(Set, [core, all, quick, extra])});
options(["--contestants", Names | Rest], Options) ->
    All = [bare, tuned, api, terms, hand, echo],
    options(Rest, Options#{contestants => [one_of(Name, All) || Name <- string:lexemes(Names, ",")]});
options(["--transport", Name | Rest], Options) -> options(Rest, Options#{transport => one_of(Name, [unix, tcp])});
options(["--worker", Name | Rest], Options) -> options(Rest, Options#{worker => one_of(Name, [native, python])});
options(["--workers", N | Rest], Options) -> options(Rest, Options#{workers => number(N)});
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

works(extra) ->
    [];
works(quick) ->
    [{unary, 16, 16}, {stream, 1, 100}];
works(core) ->
    [{unary, N, 16} || N <- [1, 16, 64]] ++ [{stream, 1, 100}, {stream, 1, 65536}];
works(all) ->
    [{unary, N, Size} || Size <- [16, 1024], N <- [1, 16, 64, 256]] ++ [{unary, N, 1048576} || N <- [1, 16]] ++
        [{stream, Streams, Size} || Size <- [100, 65536, 1048576], Streams <- [1, 64]].

run(#{set := Set, contestants := Names, rounds := Rounds, ms := Ms, workers := Count} = Options) ->
    Workers = [bench_worker:start(maps:with([transport, worker], Options)) || _ <- lists:seq(1, Count)],
    Setup = #{targets => [bench_worker:target(Worker) || Worker <- Workers], programs => programs(), snakemux => snakemux_program()},
    Contestants = [{Name, bench_contestant:start(module(Name), Setup)} || Name <- Names],
    io:format("~ts~n", [bench_report:head(Options)]),
    Results = [begin
        Result = {Work, measure(Work, Contestants, Workers, Rounds, Ms)},
        io:format("~ts~n", [bench_report:table(Result)]),
        Result
    end || Work <- works(Set)],
    [bench_contestant:stop(Pid) || {_, Pid} <- Contestants],
    Extra = case Set of
        extra -> bench_extra:all(Setup);
        all -> bench_extra:all(Setup);
        _ -> []
    end,
    [bench_worker:stop(Worker) || Worker <- Workers],
    File = json_file(Options),
    ok = file:write_file(File, unicode:characters_to_binary(bench_report:json(Options, Results, Extra))),
    io:format("~ts~n", [File]).

module(bare) -> bench_bare;
module(tuned) -> bench_tuned;
module(api) -> bench_api;
module(terms) -> bench_terms;
module(hand) -> bench_hand;
module(echo) -> bench_echo.

programs() -> os:getenv("BENCH_PROGRAMS", ".").

snakemux_program() -> os:getenv("SNAKEMUX_PROGRAM", "../priv/snakemux").

json_file(#{json := none}) -> filename:join(programs(), "bench.json");
json_file(#{json := File}) -> File.

%% Every second round goes backwards: nobody always comes after the same other one.
measure(Work, Contestants, Workers, Rounds, Ms) ->
    Turns = [begin
        Order = case N rem 2 of 0 -> lists:reverse(Contestants); 1 -> Contestants end,
        [{Name, turn(Work, Pid, Workers, Ms)} || {Name, Pid} <- Order]
    end || N <- lists:seq(1, Rounds)],
    [{Name, [proplists:get_value(Name, Turn) || Turn <- Turns]} || {Name, _} <- Contestants].

turn(Work, Contestant, Workers, Ms) ->
    _ = bench_contestant:run(Contestant, Work, ?WARM_UP_MS),
    Pids = [{client, bench_contestant:os_pids(Contestant)}, {beam, [os:getpid()]}, {worker, lists:append([bench_worker:os_pids(Worker) || Worker <- Workers])}],
    Before = [cpu(P) || {_, P} <- Pids],
    Result = #{done := Done, seconds := Seconds} = bench_contestant:run(Contestant, Work, Ms),
    After = [cpu(P) || {_, P} <- Pids],
    Used = lists:zipwith3(fun({Who, _}, A, B) -> {Who, (B - A) * 1.0e6 / max(1, Done)} end, Pids, Before, After),
    maps:merge(Result#{rate => Done / Seconds}, maps:from_list(Used)).

cpu(Pids) -> lists:sum([bench_cpu:seconds(Pid) || Pid <- Pids]).
