%% What the suites of the application share: instances, their workers, and the processes behind them.
-module(mux_tools).

-export([python/0, python/1, start/1, start/2, stop/1, exec/3, pid_of/2, wait_ready/2]).
-export([eventually/1, eventually/2, within/2, signal/2, is_alive/1, descendants/1, port_pid/1, script/3, silence/0]).

support() -> filename:join([snakemux_test_tools:root(), "test", "support"]).

%% A worker with the commands of test/support/mux_worker.py.
python() -> python(#{}).

python(Options) ->
    Python = os:getenv("SNAKEMUX_PYTHON", filename:join([snakemux_test_tools:root(), ".venv", "bin", "python"])),
    {python, maps:merge(#{module => "mux_worker", path => support(), python => Python}, Options)}.

start(Workers) -> start(Workers, #{}).

%% An instance that the calling process is not linked to, for each case a new one; its workers are ready.
start(Workers, Options) ->
    Name = list_to_atom("mux_" ++ integer_to_list(erlang:unique_integer([positive]))),
    {ok, Sup} = snakemux:start_link(Options#{name => Name, workers => Workers}),
    unlink(Sup),
    ok = snakemux:await_ready(Name, #{timeout => 15000}),
    Name.

%% Ends an instance as its supervisor would, and returns how many milliseconds that took.
stop(Name) ->
    Start = erlang:monotonic_time(millisecond),
    whereis(Name) =:= undefined orelse gen_server:stop(Name, shutdown, 60000),
    erlang:monotonic_time(millisecond) - Start.

exec(Name, Command, Args) ->
    {ok, Result} = snakemux:execute(Name, Command, Args),
    Result.

%% The process of a worker, as it says itself.
pid_of(Name, Id) ->
    {ok, #{<<"pid">> := Pid}} = snakemux:execute(Name, <<"whoami">>, #{}, #{worker => Id, timeout => 10000}),
    Pid.

wait_ready(Name, Ms) -> ok = snakemux:await_ready(Name, #{timeout => Ms}).

port_pid(Name) ->
    {ok, #{os_pid := Pid}} = snakemux:stats(Name),
    Pid.

%% Tries until it is true (or returns something else than false), for five seconds or that many milliseconds.
eventually(Fun) -> eventually(Fun, 5000).

eventually(Fun, Ms) -> eventually_until(Fun, erlang:monotonic_time(millisecond) + port_by_hand:patience(Ms)).

eventually_until(Fun, Until) ->
    case Fun() of
        false ->
            erlang:monotonic_time(millisecond) < Until orelse ct:fail("it never came true"),
            receive after 10 -> eventually_until(Fun, Until) end;
        Value ->
            Value
    end.

%% The result of the fun, which may take so many milliseconds.
within(Ms, Fun) ->
    {Micros, Result} = timer:tc(Fun),
    Micros div 1000 =< port_by_hand:patience(Ms) orelse ct:fail("it took ~b ms, not at most ~b: ~p", [Micros div 1000, Ms, Result]),
    Result.

signal(Signal, Pid) -> os:cmd("kill -" ++ Signal ++ " " ++ integer_to_list(Pid)).

%% A zombie is as good as gone: it waits for its parent, which may be a container's first process that reaps nobody.
is_alive(Pid) ->
    case stat(integer_to_list(Pid)) of
        {_, State, _} -> State =/= "Z" andalso State =/= "X";
        none -> false
    end.

%% All living processes below this one.
descendants(Pid) ->
    {ok, Names} = file:list_dir("/proc"),
    below([Pid], [Stat || Name <- Names, {_, State, _} = Stat <- [stat(Name)], State =/= "Z"]).

below(Parents, All) ->
    case [Pid || {Pid, _, Parent} <- All, lists:member(Parent, Parents)] of
        [] -> [];
        Children -> Children ++ below(Children, All)
    end.

stat([Digit | _] = Name) when Digit >= $0, Digit =< $9 ->
    case file:read_file("/proc/" ++ Name ++ "/stat") of
        {ok, Text} ->
            [_, Rest] = string:split(Text, ") ", trailing),
            [State, Parent | _] = string:lexemes(binary_to_list(Rest), " "),
            {list_to_integer(Name), State, list_to_integer(Parent)};
        {error, _} ->
            none
    end;
stat(_) -> none.

%% An executable script in the case's own directory.
script(Config, Name, Text) ->
    Path = filename:join(proplists:get_value(priv_dir, Config), Name),
    ok = file:write_file(Path, Text),
    ok = file:change_mode(Path, 8#755),
    Path.

%% No message for this process comes for a while: what would have come was on its way already.
silence() -> receive Message -> ct:fail("an unexpected message: ~p", [Message]) after 100 -> ok end.
