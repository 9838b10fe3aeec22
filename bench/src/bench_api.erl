%% snakemux through its Erlang API: as many processes as there are calls in flight, each waits for its answer.
-module(bench_api).
-behaviour(bench_contestant).

-export([start/1, os_pids/1, run/3, stop/1]).
-export([run/5]).

start(#{name := Name, targets := Targets}) ->
    {ok, _} = application:ensure_all_started(snakemux),
    Before = erlang:ports(),
    {ok, Instance} = snakemux:start_link(#{name => Name, workers => [{attach, Target, #{id => list_to_binary(Target)}} || Target <- Targets]}),
    ok = snakemux:await_ready(Name, #{workers => all, timeout => 5000}),
    [Port] = [Port || Port <- erlang:ports() -- Before, is_snakemux(erlang:port_info(Port, name))],
    {Name, Instance, Port}.

is_snakemux({name, Path}) -> filename:basename(Path) =:= "snakemux";
is_snakemux(undefined) -> false.

os_pids({_, _, Port}) -> bench_bare:os_pids(Port).

%% The credit is that of the contestant by hand; bench_terms has the default.
run(State, {unary, _, Size} = Work, Ms) ->
    run(State, Work, Ms, #{<<"data">> => bench_contestant:data(Size)}, #{codec => raw});
run(State, {stream, _, Size} = Work, Ms) ->
    run(State, Work, Ms, #{<<"count">> => <<"1000000000">>, <<"size">> => integer_to_binary(Size)}, #{codec => raw, credit => 256}).

%% @doc The same with other arguments and options.
run({Mux, _, _}, {unary, Callers, _}, Ms, Args, Options) ->
    bench_callers:run(Callers, Ms, fun() -> {ok, #{<<"data">> := _}} = snakemux:execute(Mux, <<"echo">>, Args, Options) end);
run({Mux, _, _}, {stream, Streams, _}, Ms, Args, Options) ->
    Self = self(),
    End = erlang:monotonic_time(microsecond) + Ms * 1000,
    Pids = [spawn_link(fun() -> Self ! {self(), consume(Mux, Args, Options, End)} end) || _ <- lists:seq(1, Streams)],
    bench_contestant:result(lists:sum([receive {Pid, Done} -> Done end || Pid <- Pids]), Ms / 1000, []).

consume(Mux, Args, Options, End) ->
    Count = fun(#{<<"data">> := _}, N) ->
        case erlang:monotonic_time(microsecond) < End of
            true -> {cont, N + 1};
            false -> {halt, N}
        end
    end,
    {ok, Done} = snakemux:stream_fold(Mux, <<"chunks">>, Args, Count, 0, Options#{timeout => infinity}),
    Done.

stop({_, Instance, _}) ->
    unlink(Instance),
    exit(Instance, shutdown),
    ok.
