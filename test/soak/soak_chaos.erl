%% Kills and stops, at random times, what the instance is made of, and the callers.
-module(soak_chaos).

-export([start/2, port_pid/1]).

%% Between two acts, in milliseconds.
-define(PAUSE, {500, 2500}).
%% The watchdog has replaced a stopped port program by then, and a killed one is replaced, whatever the back-off is.
-define(REPLACED, 7500).

%% @doc Starts a linked process that acts until it gets `stop'. `Calm' is from when on it leaves the port program alone.
-spec start(atom(), Calm :: integer()) -> pid().
start(Name, Calm) -> spawn_link(fun() -> loop(Name, Calm) end).

loop(Name, Calm) ->
    {Least, Most} = ?PAUSE,
    receive
        stop -> ok
    after Least + rand:uniform(Most - Least) ->
        Kind = pick(kinds() ++ [K || K <- port_kinds(), soak_caller:now_ms() < Calm]),
        _ = act(Kind, Name) =/= missed andalso soak_book:count({chaos, Kind}),
        loop(Name, Calm)
    end.

%% With their weights.
kinds() -> [{worker_kill, 4}, {worker_stop, 3}, {guardian_kill, 1}, {worker_restart, 1}, {caller_kill, 12}].
port_kinds() -> [{port_kill, 1}, {port_stop, 1}, {port_stop_for_good, 1}].

pick(Kinds) -> pick(Kinds, rand:uniform(lists:sum([Weight || {_, Weight} <- Kinds]))).

pick([{Kind, Weight} | _], At) when At =< Weight -> Kind;
pick([{_, Weight} | More], At) -> pick(More, At - Weight).

act(caller_kill, _) ->
    case soak_caller:all() of
        [] -> missed;
        Callers -> exit(any(Callers), kill)
    end;
act(worker_restart, Name) ->
    {ok, Workers} = snakemux:workers(Name),
    #{id := Id} = any(Workers),
    %% It may take seconds, and nobody waits for it.
    spawn(fun() -> snakemux:restart_worker(Name, Id) end);
act(Kind, Name) when Kind =:= port_kill; Kind =:= port_stop; Kind =:= port_stop_for_good ->
    case port_pid(Name) of
        none -> missed;
        Pid -> act_on_port(Kind, Pid, Name)
    end;
act(Kind, Name) ->
    {ok, Workers} = snakemux:workers(Name),
    case [Pid || #{guardian_pid := Pid} <- Workers] of
        [] -> missed;
        Guardians -> act_on_worker(Kind, any(Guardians))
    end.

act_on_worker(guardian_kill, Guardian) ->
    mux_tools:signal("KILL", Guardian);
act_on_worker(Kind, Guardian) ->
    case {Kind, mux_tools:descendants(Guardian)} of
        {_, []} -> missed;
        {worker_kill, Below} -> mux_tools:signal("KILL", lists:last(Below));
        {worker_stop, Below} -> spawn(fun() -> hold(lists:last(Below), rand:uniform(8000)) end)
    end.

act_on_port(port_kill, Pid, Name) ->
    mux_tools:signal("KILL", Pid),
    await_replaced(Pid, Name);
act_on_port(port_stop, Pid, _) ->
    Ms = 100 + rand:uniform(3000),
    Now = soak_caller:now_ms(),
    soak_book:stopped(Now, Now + Ms + 100),
    hold(Pid, Ms);
act_on_port(port_stop_for_good, Pid, Name) ->
    Now = soak_caller:now_ms(),
    soak_book:stopped(Now, Now + ?REPLACED),
    mux_tools:signal("STOP", Pid),
    await_replaced(Pid, Name).

hold(Pid, Ms) ->
    mux_tools:signal("STOP", Pid),
    timer:sleep(Ms),
    mux_tools:signal("CONT", Pid).

await_replaced(Pid, Name) -> await_replaced(Pid, Name, soak_caller:now_ms()).

await_replaced(Pid, Name, Since) ->
    Took = soak_caller:now_ms() - Since,
    case port_pid(Name) of
        New when New =/= none, New =/= Pid -> soak_book:longest(replaced, Took);
        _ when Took > ?REPLACED -> soak_book:violation("the port program ~b was not replaced in ~b ms", [Pid, Took]);
        _ -> timer:sleep(10), await_replaced(Pid, Name, Since)
    end.

%% @doc The port program that callers speak to now.
-spec port_pid(atom()) -> pos_integer() | none.
port_pid(Name) ->
    {ok, Table} = snakemux_table:find(Name),
    case snakemux_table:live_port(snakemux_table:ref(Table, 0)) of
        {ok, Port} -> case erlang:port_info(Port, os_pid) of {os_pid, Pid} -> Pid; undefined -> none end;
        none -> none
    end.

any(List) -> lists:nth(rand:uniform(length(List)), List).
