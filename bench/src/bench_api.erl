%% snakemux through its Erlang API: as many processes as there are calls in flight, each waits for its answer.
-module(bench_api).
-behaviour(bench_contestant).

-export([start/1, os_pids/1, run/3, stop/1]).
-export([start/2, run/4]).

-define(MUX, ?MODULE).

start(Setup) -> start(?MUX, Setup).

%% @doc An instance with this name. Returns it with its port.
start(Name, #{targets := Targets}) ->
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
run(State, {unary, _, _} = Work, Ms) -> run(State, Work, Ms, #{codec => raw});
run(State, {stream, _, _} = Work, Ms) -> run(State, Work, Ms, #{codec => raw, credit => 256}).

%% @doc The same with call options.
run({Mux, _, _}, {Kind, Callers, Size}, Ms, Options) ->
    Self = self(),
    End = erlang:monotonic_time(microsecond) + Ms * 1000,
    Caller = fun() -> Self ! {self(), caller(Kind, Mux, Size, Options, End)} end,
    Pids = [spawn_link(Caller) || _ <- lists:seq(1, Callers)],
    {Done, Latencies} = lists:unzip([receive {Pid, Result} -> Result end || Pid <- Pids]),
    bench_contestant:result(lists:sum(Done), Ms / 1000, lists:append(Latencies)).

caller(unary, Mux, Size, Options, End) ->
    Data = case Options of
        #{codec := raw} -> bench_contestant:data(Size);
        #{} -> binary:copy(<<"x">>, max(0, Size - 2)) %% gets its quotes on the way
    end,
    unary(Mux, #{<<"data">> => Data}, Options, End, 0, []);
caller(stream, Mux, Size, Options, End) ->
    {Count, SizeValue} = case Options of
        #{codec := raw} -> {<<"1000000000">>, integer_to_binary(Size)};
        #{} -> {1000000000, Size}
    end,
    Count1 = fun(#{<<"data">> := _}, N) ->
        case erlang:monotonic_time(microsecond) < End of
            true -> {cont, N + 1};
            false -> {halt, N}
        end
    end,
    {ok, Done} = snakemux:stream_fold(Mux, <<"chunks">>, #{<<"count">> => Count, <<"size">> => SizeValue}, Count1, 0,
                                      Options#{timeout => infinity}),
    {Done, []}.

unary(Mux, Args, Options, End, Done, Latencies) ->
    Sent = erlang:monotonic_time(microsecond),
    {ok, #{<<"data">> := _}} = snakemux:execute(Mux, <<"echo">>, Args, Options),
    case erlang:monotonic_time(microsecond) of
        Now when Now < End -> unary(Mux, Args, Options, End, Done + 1, [Now - Sent | Latencies]);
        _ -> {Done, Latencies}
    end.

stop({_, Instance, _}) ->
    unlink(Instance),
    exit(Instance, shutdown),
    ok.
