%% One worker: its process (unless it is attached), and the connection that the port program is to have to it.
%%
%%   starting ── the port program calls it ready ──► ready
%%      ▲                                              │
%%      │ after a back-off                             │ the process ends, or is stuck and is stopped
%%      └──────────────── down ◄───────────────────────┘
%%
%% It does not depend on the mux: when the port program dies the worker's process goes on, and the mux connects
%% again to what stands in the instance's table.
-module(snakemux_worker).
-behaviour(gen_statem).

-export([start_link/2, drain/2, restart/1]).
-export([callback_mode/0, init/1, handle_event/4, terminate/3]).

-define(STOP, 5000).
-define(TAIL, 20).
%% So often in a row calls wait for a worker that ended; after that it is taken out until it is ready.
-define(PATIENCE, 3).
%% Lines of output that go to the logger in a second; the rest is counted.
-define(LINES, 100).
-define(MAX_BACKOFF, 30000).
%% A worker that was ready for so long starts again without delay.
-define(STABLE, 10000).
%% How long a worker may be unhealthy (or silent, without any call running) before it is started again.
-define(STUCK, 1000).
-define(SILENT, 10000).

-record(data, {
    name :: atom(),
    table :: snakemux_table:table(),
    worker :: snakemux_spec:worker(),
    port :: port() | undefined,
    dir :: file:filename() | undefined,
    %% What fills {port}, {address}, … of the next process, whose connection is wanted already.
    values :: #{string() => string()} | undefined,
    incarnation = <<>> :: binary(),
    lines = [] :: [binary()],
    partial = [] :: [binary()],
    quota = ?LINES :: integer(),
    failures = 0 :: non_neg_integer(),
    restarts = 0 :: non_neg_integer(),
    ready_at :: integer() | undefined,
    info = #{} :: map(),
    %% Why it is not ready, in words.
    text :: binary() | undefined
}).

-spec start_link(atom(), snakemux_spec:worker()) -> {ok, pid()}.
start_link(Name, Worker) -> gen_statem:start_link(?MODULE, {Name, Worker}, []).

%% @doc Takes its connection away: at once, or after its calls have ended, for `Ms' at most. Waits for it.
-spec drain(pid(), now | {drain, non_neg_integer()}) -> ok.
drain(Pid, How) -> gen_statem:call(Pid, {drain, How}, infinity).

%% @doc Ends its process and starts a new one.
-spec restart(pid()) -> ok.
restart(Pid) -> gen_statem:call(Pid, restart, infinity).

%% @private
callback_mode() -> handle_event_function.

%% @private
init({Name, Worker}) ->
    process_flag(trap_exit, true),
    {ok, Table} = snakemux_table:find(Name),
    Data = #data{name = Name, table = Table, worker = Worker},
    %% The connection is wanted before this returns, so that the very next call waits for it.
    case Worker of
        #{kind := attach, target := Target} ->
            connect(Target, Data),
            {ok, starting, show(starting, Data)};
        #{} ->
            {ok, starting, show(starting, prepare(Data)), {next_event, internal, start}}
    end.

%% @private
handle_event(internal, start, starting, Data) ->
    start(Data);
handle_event(state_timeout, start, _, Data) ->
    start(Data#data{restarts = Data#data.restarts + 1});
handle_event(state_timeout, not_ready, starting, #data{worker = #{ready_timeout := Ms}} = Data) ->
    stop_process(Data),
    down(io_lib:format("not ready within ready_timeout (~b ms)", [Ms]), Data);
handle_event(info, {snakemux_worker, State, Info}, Was, Data) ->
    connection(State, Was, Data#data{info = Info#{state => State}});
handle_event(info, {Port, {data, {Flag, Text}}}, _, #data{port = Port} = Data) ->
    {keep_state, output(Flag, Text, Data), [{{timeout, lines}, 1000, refill} || Data#data.quota =:= ?LINES]};
handle_event(info, {Port, {exit_status, Status}}, State, #data{port = Port} = Data) when State =/= down ->
    down(exit_text(Status), Data#data{port = undefined});
handle_event({timeout, stuck}, Why, ready, Data) ->
    stop_process(Data),
    down(Why, Data);
handle_event({timeout, silent}, _, ready, Data) ->
    ask_stats(Data);
handle_event(info, {snakemux, _, {ok, #{workers := Workers}}}, ready, #data{worker = #{id := Id}} = Data) ->
    case Workers of
        #{Id := #{state := unresponsive, in_flight := 0}} ->
            stop_process(Data),
            down("it did not answer, with no call running", Data);
        #{} ->
            {keep_state, Data, {{timeout, silent}, ?SILENT, again}}
    end;
handle_event({timeout, lines}, _, _, Data) ->
    {keep_state, refill(Data)};
handle_event({call, From}, {drain, How}, _, Data) ->
    disconnect(How, Data),
    {keep_state, Data, {reply, From, ok}};
handle_event({call, From}, restart, _, Data) ->
    disconnect(now, Data),
    stop_process(Data),
    Next = clean(Data#data{port = undefined, values = undefined, failures = 0, restarts = Data#data.restarts + 1}),
    {next_state, starting, show(starting, Next), [{reply, From, ok}, {next_event, internal, start}]};
handle_event(_, _, _, Data) ->
    {keep_state, Data}.

%% @private
terminate(_, _, #data{table = Table, worker = #{id := Id}} = Data) ->
    disconnect(now, Data),
    stop_process(Data),
    clean(Data),
    snakemux_table:remove_worker(Table, Id).

%% ---- The process ----

start(#data{worker = #{kind := attach, target := Target}} = Data) ->
    connect(Target, Data),
    {next_state, starting, show(starting, Data)};
start(#data{values = undefined} = Data) ->
    start(prepare(Data));
start(#data{worker = Worker, values = Values, table = Table} = Data0) ->
    Data = Data0#data{values = undefined, lines = [], partial = []},
    try open_port({spawn_executable, snakemux_table:program(Table)}, port_options(Worker, Values)) of
        Port ->
            Timer = {state_timeout, maps:get(ready_timeout, Worker), not_ready},
            {next_state, starting, show(starting, Data#data{port = Port}), Timer}
    catch
        error:Reason -> down(io_lib:format("the guardian can't be started: ~p", [Reason]), Data)
    end.

%% A new life: where it will listen and what it is called. Calls can wait for it from now on.
prepare(#data{worker = Worker} = Data0) ->
    {Target, Values, Dir} = place(Worker),
    Data = Data0#data{dir = Dir, values = Values, incarnation = binary:encode_hex(rand:bytes(12))},
    connect(Target, Data),
    Data.

port_options(Worker, Values) ->
    Env = snakemux_env:with(maps:get(env_inherit, Worker), snakemux_spec:env(Worker, Values)),
    [
        binary, exit_status, stderr_to_stdout, use_stdio, {line, 4096},
        {args, ["exec", "--" | snakemux_spec:argv(Worker, Values)]}, {env, Env}
    ] ++ [{cd, Dir} || #{cd := Dir} <- [Worker]].

%% Where it is to listen: a socket in a private directory, or a free port for those that only know port numbers.
place(#{argv := Argv, id := Id, index := Index}) ->
    Common = #{"{id}" => unicode:characters_to_list(Id), "{index}" => integer_to_list(Index)},
    case lists:any(fun(A) -> string:find(A, "{port}") =/= nomatch end, Argv) of
        true ->
            Number = integer_to_list(snakemux_dir:free_port()),
            Address = "127.0.0.1:" ++ Number,
            {list_to_binary("ipv4:" ++ Address), Common#{"{port}" => Number, "{address}" => Address}, undefined};
        false ->
            Dir = snakemux_dir:new(),
            Socket = "unix:" ++ filename:join(Dir, "w"),
            {unicode:characters_to_binary(Socket), Common#{"{address}" => Socket}, Dir}
    end.

%% TERM, KILL after five seconds; returns when the guardian, and with it all of the worker, is gone.
stop_process(#data{port = undefined}) -> ok;
stop_process(#data{port = Port}) ->
    catch port_command(Port, io_lib:format("stop ~b\n", [?STOP])),
    await_exit(Port, erlang:monotonic_time(millisecond) + ?STOP + 1000),
    catch port_close(Port),
    ok.

await_exit(Port, Until) ->
    receive
        {Port, {exit_status, _}} -> ok;
        {'EXIT', Port, _} -> ok;
        {Port, {data, _}} -> await_exit(Port, Until)
    after max(0, Until - erlang:monotonic_time(millisecond)) -> ok
    end.

%% It ended. Calls wait for the next one if that comes soon; a worker that keeps ending is taken out meanwhile.
down(Why, #data{failures = Failures0, ready_at = ReadyAt} = Data0) ->
    Stable = ReadyAt =/= undefined andalso erlang:monotonic_time(millisecond) - ReadyAt >= ?STABLE,
    Failures = case Stable of true -> 0; false -> Failures0 end,
    Delay = min(?MAX_BACKOFF, 100 bsl min(Failures, 9)),
    Text = why(Why, Data0),
    Data1 = clean(Data0#data{text = Text, port = undefined, failures = Failures + 1, ready_at = undefined, values = undefined}),
    logger:error("snakemux ~p, worker ~ts: ~ts", [Data1#data.name, id(Data1), Text]),
    disconnect(now, Data1),
    Data = case Failures < ?PATIENCE of true -> prepare(Data1); false -> Data1 end,
    {next_state, down, show(down, Data), [{state_timeout, Delay, start} | no_timers()]}.

no_timers() -> [{{timeout, stuck}, infinity, off}, {{timeout, silent}, infinity, off}].

exit_text(Status) when Status > 128 -> io_lib:format("ended by signal ~b", [Status - 128]);
exit_text(Status) -> io_lib:format("ended with status ~b", [Status]).

why(Why, #data{lines = Lines, worker = Worker}) ->
    Tail = lists:reverse(lists:sublist(Lines, ?TAIL)),
    Hint = hint(Tail, Worker),
    Last = [["\n  | ", Line] || Line <- Tail],
    unicode:characters_to_binary([Why, Hint, case Last of [] -> ""; _ -> ["; its last output:", Last] end]).

hint(Tail, #{kind := python, argv := [Python | _]}) ->
    Missing = [Module || Line <- Tail, Module <- ["grpc", "google"],
                         string:find(Line, ["No module named '", Module]) =/= nomatch],
    case Missing of
        [] -> "";
        _ -> [": that interpreter lacks grpcio. Run: ", Python, " -m pip install grpcio protobuf msgpack"]
    end;
hint(_, _) -> "".

clean(#data{dir = undefined} = Data) -> Data;
clean(#data{dir = Dir} = Data) ->
    snakemux_dir:delete(Dir),
    Data#data{dir = undefined}.

%% ---- Its output ----

output(noeol, Text, #data{partial = Partial} = Data) -> Data#data{partial = [Text | Partial]};
output(eol, Text, #data{partial = Partial, lines = Lines, quota = Quota} = Data) ->
    Line = iolist_to_binary(lists:reverse(Partial, [Text])),
    Quota > 0 andalso logger:info("~ts: ~ts", [id(Data), Line], #{snakemux_worker => id(Data)}),
    Data#data{partial = [], lines = lists:sublist([Line | Lines], ?TAIL), quota = Quota - 1}.

refill(#data{quota = Quota} = Data) ->
    Quota < 0 andalso logger:warning("~ts: ~b lines of output not logged", [id(Data), -Quota]),
    Data#data{quota = ?LINES}.

%% ---- The connection ----

connect(Target, #data{table = Table, worker = #{id := Id, connect := Connect, ready_timeout := Ms}} = Data) ->
    Options0 = Connect#{ready_timeout => Ms},
    Options = case Data#data.incarnation of <<>> -> Options0; I -> Options0#{incarnation => I} end,
    snakemux_table:want(Table, Id, Target, Options),
    tell(Data, {connect, {mux, connect}, Id, Target, Options}).

disconnect(How, #data{table = Table, worker = #{id := Id}} = Data) ->
    snakemux_table:unwant(Table, Id),
    tell(Data, {disconnect, {mux, disconnect}, Id, How}),
    How =/= now andalso await_gone(element(2, How)),
    ok.

await_gone(Ms) -> receive {snakemux_worker, gone, _} -> ok after Ms + 1000 -> ok end.

tell(#data{table = Table}, Message) ->
    case snakemux_table:port_of(Table) of
        {ok, Port} -> snakemux_mux:send(Port, Message);
        none -> false
    end.

connection(ready, _, Data) ->
    Now = erlang:monotonic_time(millisecond),
    Ready = case Data#data.ready_at of undefined -> Now; At -> At end,
    {next_state, ready, show(ready, Data#data{ready_at = Ready, text = undefined}),
     no_timers()};
connection(unresponsive, ready, #data{info = #{reason := unhealthy}, worker = #{on_stuck := restart, kind := Kind}} = Data)
        when Kind =/= attach ->
    {keep_state, show(ready, Data), {{timeout, stuck}, ?STUCK, "it said that it is unhealthy"}};
connection(unresponsive, ready, #data{worker = #{kill_unresponsive := true, kind := Kind}} = Data) when Kind =/= attach ->
    {keep_state, show(ready, Data), {{timeout, silent}, ?SILENT, first}};
connection(_, Was, Data) ->
    {keep_state, show(Was, Data)}.

ask_stats(#data{name = Name} = Data) ->
    _ = snakemux:request_async(Name, stats),
    {keep_state, Data}.

%% What workers/1 shows.
show(State, #data{table = Table, worker = #{id := Id, kind := Kind}, info = Info, text = Text} = Data) ->
    Seen = case {State, maps:get(state, Info, connecting)} of
        {down, _} -> down;
        {starting, _} -> starting;
        {_, Connection} -> Connection
    end,
    Base = maps:without([state], Info),
    Shown0 = Base#{id => Id, kind => Kind, state => Seen, restarts => Data#data.restarts},
    Shown1 = case os_pid(Data) of undefined -> Shown0; Pid -> Shown0#{guardian_pid => Pid} end,
    Shown = case Text of undefined -> Shown1; _ -> Shown1#{text => Text} end,
    snakemux_table:put_worker(Table, Id, self(), Shown),
    Data.

os_pid(#data{port = undefined}) -> undefined;
os_pid(#data{port = Port}) ->
    case erlang:port_info(Port, os_pid) of
        {os_pid, Pid} -> Pid;
        undefined -> undefined
    end.

id(#data{worker = #{id := Id}}) -> Id.
