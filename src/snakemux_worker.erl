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

-export([start_link/2, restart/2, remove/2]).
-export([callback_mode/0, init/1, handle_event/4, terminate/3]).

%% After SIGTERM: a worker may finish what it does, one that is stuck will hardly listen.
-define(STOP, 5000).
-define(STOP_STUCK, 1000).
%% So often in a row calls wait for a worker that ended; after that it is taken out until it is ready.
-define(PATIENCE, 3).
-define(MAX_BACKOFF, 30000).
%% A worker that was ready for so long starts again as if it had never failed.
-define(STABLE, 10000).
%% How often one that is unresponsive is looked at, and how long its running calls may take when it is stuck.
-define(LOOK, 1000).
-define(DRAIN_STUCK, 10000).
%% How often one that starts after others looks whether they have.
-define(TURN, 50).

-record(data, {
    name :: atom(),
    table :: snakemux_table:table(),
    worker :: snakemux_spec:worker(),
    port :: port() | undefined,
    dir :: file:filename() | undefined,
    %% What fills {port}, {address}, … of the next process, whose connection is wanted already.
    values :: #{string() => string()} | undefined,
    incarnation = <<>> :: binary(),
    output :: snakemux_output:output(),
    failures = 0 :: non_neg_integer(),
    restarts = 0 :: non_neg_integer(),
    ready_at :: integer() | undefined,
    %% Since when it is unresponsive, and since when moreover no call runs on it.
    silent_at :: integer() | undefined,
    idle_at :: integer() | undefined,
    %% The next life, whose connection is wanted while the calls of this one end.
    next :: #data{} | undefined,
    %% Who waits for its connection to be drained.
    drains = #{} :: #{snakemux:ref() => {restart, gen_statem:from()} | remove},
    %% Why it is down, and what the port program said of its connection.
    text :: binary() | undefined,
    info = #{} :: map()
}).

-spec start_link(atom(), snakemux_spec:worker()) -> {ok, pid()} | {error, term()}.
start_link(Name, Worker) -> gen_statem:start_link(?MODULE, {Name, Worker}, []).

%% @doc Ends its process and starts a new one, at once or after its calls have ended, for `Ms' at most.
-spec restart(pid(), now | {drain, non_neg_integer()}) -> ok.
restart(Pid, How) -> gen_statem:call(Pid, {restart, How}, infinity).

%% @doc Ends it for good; returns when it has ended.
-spec remove(pid(), now | {drain, non_neg_integer()}) -> ok.
remove(Pid, How) ->
    Monitor = erlang:monitor(process, Pid),
    gen_statem:cast(Pid, {remove, How}),
    receive {'DOWN', Monitor, process, Pid, _} -> ok end.

%% @private
callback_mode() -> handle_event_function.

%% @private
init({Name, #{id := Id} = Worker}) ->
    process_flag(trap_exit, true),
    {ok, Table} = snakemux_table:find(Name),
    bury(Worker, Table),
    case snakemux_table:claim_worker(Table, Id) of
        true ->
            Data = #data{name = Name, table = Table, worker = Worker, output = snakemux_output:new(Id)},
            %% The connection is wanted before this returns, so that the very next call waits for it.
            {ok, starting, show(starting, prepared(Data)), {next_event, internal, wait_turn}};
        false ->
            {stop, {shutdown, already_exists}}
    end.

%% What a worker of this id has left that was killed as a process of the BEAM: its socket's directory.
bury(#{id := Id, kind := Kind}, Table) when Kind =/= attach ->
    case {snakemux_table:worker(Table, Id), snakemux_table:wanted(Table, Id)} of
        {{ok, Pid, _}, [{connect, _, _, Target, _}]} -> is_process_alive(Pid) orelse snakemux_dir:delete_of(Target);
        _ -> ok
    end;
bury(_, _) -> ok.

%% @private
handle_event(Type, wait_turn, starting, Data) when Type =:= internal; Type =:= state_timeout ->
    case is_my_turn(Data) of
        true -> start(Data);
        false -> {keep_state, Data, {state_timeout, ?TURN, wait_turn}}
    end;
handle_event(internal, start, starting, Data) ->
    start(Data);
handle_event(state_timeout, start, down, Data) ->
    start(Data#data{restarts = Data#data.restarts + 1});
handle_event(state_timeout, not_ready, starting, #data{worker = #{ready_timeout := Ms}} = Data) ->
    down(io_lib:format("not ready within ready_timeout (~b ms)", [Ms]), stop_process(?STOP, Data));
handle_event(info, {snakemux_worker, refused, #{message := Text}}, _, Data) ->
    {next_state, down, show(down, stop_process(?STOP, Data#data{text = Text})), no_timers()};
handle_event(info, {snakemux_worker, State, Info}, Was, #data{incarnation = Mine} = Data) ->
    case Info of
        #{incarnation := Other} when Mine =/= <<>>, Other =/= Mine -> keep_state_and_data;
        #{} -> connection(State, Was, Data#data{info = Info#{state => State}})
    end;
handle_event(info, {Port, {data, Bytes}}, _, #data{port = Port, output = Output} = Data) ->
    Timer = [{{timeout, quota}, 1000, refill} || snakemux_output:is_fresh(Output)],
    {keep_state, Data#data{output = snakemux_output:add(Bytes, Output)}, Timer};
handle_event({timeout, quota}, refill, _, #data{output = Output} = Data) ->
    Next = snakemux_output:refill(Output),
    {keep_state, Data#data{output = Next}, [{{timeout, quota}, 1000, refill} || not snakemux_output:is_fresh(Next)]};
handle_event(info, {Port, {exit_status, Status}}, _, #data{port = Port} = Data) ->
    down(exit_text(Status), Data#data{port = undefined});
handle_event(info, {'EXIT', Port, Reason}, _, #data{port = Port} = Data) ->
    down(io_lib:format("its guardian's port closed: ~p", [Reason]), Data#data{port = undefined});
handle_event({timeout, look}, again, ready, #data{name = Name} = Data) ->
    _ = snakemux:request_async(Name, calls),
    {keep_state, Data, {{timeout, look}, ?LOOK, again}};
handle_event(info, {snakemux, _, {ok, Calls}}, ready, #data{info = #{state := unresponsive}} = Data) when is_list(Calls) ->
    judge(Calls, now_ms(), Data);
handle_event(info, {snakemux, Ref, _}, _, #data{drains = Drains} = Data) when is_map_key(Ref, Drains) ->
    case maps:take(Ref, Drains) of
        {{restart, From}, Rest} -> again(?STOP, [{reply, From, ok}], Data#data{drains = Rest});
        {remove, _} -> {stop, {shutdown, removed}, Data}
    end;
handle_event({call, From}, {restart, now}, _, Data) ->
    again(?STOP, [{reply, From, ok}], Data);
handle_event({call, From}, {restart, How}, _, Data) ->
    {keep_state, replace(How, From, Data)};
handle_event(cast, {remove, now}, _, Data) ->
    {stop, {shutdown, removed}, Data};
handle_event(cast, {remove, How}, _, Data) ->
    {keep_state, drain(How, remove, Data)};
handle_event(_, _, _, _) ->
    keep_state_and_data.

%% @private
terminate(_, _, #data{table = Table, worker = #{id := Id}} = Data) ->
    _ = stop_process(?STOP, disconnect(forget_next(Data))),
    snakemux_table:remove_worker(Table, Id).

%% ---- The process ----

%% With start_concurrency, a worker starts when the one so many places before it has started, or failed to.
is_my_turn(#data{table = Table, worker = #{behind := Id}}) ->
    case snakemux_table:worker(Table, Id) of
        {ok, _, #{state := State}} -> State =/= starting;
        none -> true
    end;
is_my_turn(_) -> true.

start(#data{worker = #{kind := attach}} = Data) ->
    {next_state, starting, Data};
start(#data{values = undefined} = Data) ->
    case prepare(Data) of
        {ok, Prepared} -> start(Prepared);
        {error, Text} -> down(Text, Data)
    end;
start(#data{worker = #{id := Id, ready_timeout := Ms} = Worker, values = Values, table = Table} = Data0) ->
    Data = Data0#data{values = undefined, output = snakemux_output:new(Id)},
    Program = snakemux_table:setting(Table, program),
    try open_port({spawn_executable, Program}, port_options(Worker, Values)) of
        Port -> {next_state, starting, show(starting, Data#data{port = Port}), {state_timeout, Ms, not_ready}}
    catch
        error:Reason -> down(io_lib:format("its guardian ~ts can't be started: ~p", [Program, Reason]), Data)
    end.

%% A new life: where it will listen and what it is called. Calls can wait for it from now on.
prepare(Data) ->
    case place(Data) of
        {ok, Placed} -> {ok, connect(Placed)};
        Error -> Error
    end.

place(#data{worker = #{kind := attach}} = Data) ->
    {ok, Data};
place(#data{worker = Worker} = Data) ->
    try snakemux_dir:place(Worker) of
        {Target, Values, Dir} ->
            Life = binary:encode_hex(rand:bytes(12)),
            {ok, Data#data{dir = Dir, values = Values, incarnation = Life, info = #{}, worker = Worker#{target => Target}}}
    catch
        error:{badmatch, {error, Reason}} -> {error, io_lib:format("there is no place for its socket: ~p", [Reason])}
    end.

port_options(Worker, Values) ->
    Env = snakemux_env:with(maps:get(env_inherit, Worker), snakemux_spec:env(Worker, Values)),
    [
        binary, exit_status, stderr_to_stdout, use_stdio, {args, ["exec", "--" | snakemux_spec:argv(Worker, Values)]},
        {env, Env}
    ] ++ [{cd, Dir} || #{cd := Dir} <- [Worker]].

%% TERM, KILL after `Grace' ms; returns when the guardian, and with it all of the worker, is gone.
stop_process(_, #data{port = undefined} = Data) ->
    clean(Data);
stop_process(Grace, #data{port = Port} = Data) ->
    _ = (catch port_command(Port, io_lib:format("stop ~b\n", [Grace]))),
    %% A guardian that does not end is stopped, or none: its other half ends the worker when it is killed.
    await_exit(Port, now_ms() + Grace + 1000) orelse kill(Port, Data),
    _ = (catch port_close(Port)),
    clean(Data#data{port = undefined}).

kill(Port, #data{table = Table}) ->
    snakemux_program:kill(snakemux_program:os_pid(Port), snakemux_table:setting(Table, program)).

await_exit(Port, Until) ->
    receive
        {Port, {exit_status, _}} -> true;
        {'EXIT', Port, _} -> true;
        {Port, {data, _}} -> await_exit(Port, Until)
    after max(0, Until - now_ms()) -> false
    end.

clean(#data{dir = undefined} = Data) -> Data;
clean(#data{dir = Dir} = Data) ->
    snakemux_dir:delete(Dir),
    Data#data{dir = undefined}.

%% It ended. Calls wait for the next one if that comes soon; a worker that keeps ending is taken out meanwhile.
down(Why, #data{name = Name, worker = #{id := Id} = Worker, ready_at = ReadyAt} = Data0) ->
    Stable = ReadyAt =/= undefined andalso now_ms() - ReadyAt >= ?STABLE,
    Failures = case Stable of true -> 0; false -> Data0#data.failures end,
    Text = unicode:characters_to_binary([Why | snakemux_output:last_words(Worker, Data0#data.output)]),
    logger:error("snakemux ~p, worker ~ts: ~ts", [Name, Id, Text]),
    Data1 = clean((forget_next(Data0))#data{failures = Failures + 1, ready_at = undefined, values = undefined, text = Text}),
    Data =
        case Failures < ?PATIENCE andalso prepare(Data1) of
            {ok, Prepared} -> Prepared;
            _ -> disconnect(Data1)
        end,
    {next_state, down, show(down, Data), [{state_timeout, min(?MAX_BACKOFF, 100 bsl min(Failures, 9)), start} | no_timers()]}.

%% A new process in the place of this one; calls can wait for it while the old one ends.
again(Grace, Actions, Old) ->
    Next0 = case Old#data.next of undefined -> prepared(reborn(Old)); Prepared -> Prepared end,
    Next = Next0#data{drains = Old#data.drains},
    _ = stop_process(Grace, Old),
    {next_state, starting, show(starting, Next), [{next_event, internal, start} | Actions ++ no_timers()]}.

reborn(#data{restarts = Restarts} = Old) ->
    Old#data{port = undefined, dir = undefined, values = undefined, ready_at = undefined, restarts = Restarts + 1,
             failures = 0, text = undefined, next = undefined}.

%% It ended before its calls did, or for good.
forget_next(#data{next = undefined} = Data) -> Data;
forget_next(#data{next = Next} = Data) ->
    _ = clean(Next),
    Data#data{next = undefined}.

prepared(Data) ->
    case prepare(Data) of
        {ok, Prepared} -> Prepared;
        {error, _} -> Data
    end.

no_timers() -> [{{timeout, look}, infinity, again}].

exit_text(Status) when Status > 128 -> io_lib:format("ended by signal ~b", [Status - 128]);
exit_text(Status) -> io_lib:format("ended with status ~b", [Status]).

%% ---- The connection ----

connect(#data{table = Table, worker = #{id := Id}} = Data) ->
    want(Data),
    snakemux_mux:connect(Table, Id),
    Data.

want(#data{table = Table, worker = #{id := Id, connect := Connect, ready_timeout := Ms, target := Target}} = Data) ->
    Options0 = Connect#{ready_timeout => Ms},
    Options = case Data#data.incarnation of <<>> -> Options0; I -> Options0#{incarnation => I} end,
    snakemux_table:want(Table, Id, {connect, {connect, Id}, Id, Target, Options}).

disconnect(#data{name = Name, table = Table, worker = #{id := Id}} = Data) ->
    snakemux_table:unwant(Table, Id),
    snakemux_mux:disconnect(Table, snakemux_mux:ref(Name), Id, now),
    Data.

drain(How, Then, #data{table = Table, worker = #{id := Id}} = Data) ->
    snakemux_table:unwant(Table, Id),
    drain(fun snakemux_mux:disconnect/4, How, Then, Data).

drain(Ask, How, Then, #data{name = Name, table = Table, worker = #{id := Id}, drains = Drains} = Data) ->
    Ref = snakemux_mux:ref(Name),
    snakemux_table:add_call(Ref, infinity, undefined),
    Ask(Table, Ref, Id, How),
    Data#data{drains = Drains#{Ref => Then}}.

%% Its calls end, and new ones that no other worker can take wait for its next life.
replace(How, From, Data) ->
    case place(reborn(forget_next(Data))) of
        {ok, Next} ->
            want(Next),
            drain(fun snakemux_mux:replace/4, How, {restart, From}, Data#data{next = Next});
        {error, _} ->
            drain(How, {restart, From}, Data)
    end.

connection(ready, Was, #data{ready_at = At} = Data0) when Was =/= down ->
    Data = Data0#data{ready_at = case At of undefined -> now_ms(); _ -> At end, silent_at = undefined, text = undefined},
    {next_state, ready, show(ready, Data), no_timers()};
connection(unresponsive, ready, #data{worker = #{kind := Kind}, silent_at = undefined} = Data) when Kind =/= attach ->
    {keep_state, show(ready, Data#data{silent_at = now_ms(), idle_at = undefined}), {{timeout, look}, ?LOOK, again}};
connection(_, Was, Data) ->
    {keep_state, show(Was, Data)}.

%% It is unresponsive: is it to be started again? When it is silent, calls that came since wait for the same as Health.
judge(Calls, Now, #data{worker = #{id := Id, connect := Connect} = Worker, silent_at = Since, idle_at = Idle0} = Data) ->
    #{reason := Reason} = Data#data.info,
    Before = case Reason of silent -> Now - Since + maps:get(unresponsive_after, Connect, 5000); _ -> 0 end,
    Running = [Call || #{worker := On, age_ms := Age} = Call <- Calls, On =:= Id, Age >= Before],
    Idle = case Running of [] when Idle0 =:= undefined -> Now; [] -> Idle0; _ -> undefined end,
    case is_lost(Reason, Worker, Now - Since, Idle =/= undefined andalso Now - Idle) of
        {true, Why} -> down(Why, stop_process(?STOP_STUCK, Data));
        false -> {keep_state, Data#data{idle_at = Idle}}
    end.

%% Our own library answers to Health whatever the handlers do: when it is silent and no call runs, a handler has
%% outlived its call and holds the interpreter. Other workers may just be busy.
is_lost(_, #{kill_unresponsive := true}, _, _) ->
    {true, "it was unresponsive, and kill_unresponsive is set"};
is_lost(unhealthy, #{on_stuck := restart}, Silent, Idle) when Idle =/= false; Silent >= ?DRAIN_STUCK ->
    {true, "it is stuck: it said that it is unhealthy"};
is_lost(silent, #{on_stuck := restart, kind := python, stuck_grace := Grace}, _, Idle) when Idle >= Grace, Idle =/= false ->
    {true, "it is stuck: it did not answer, with no call running"};
is_lost(_, _, _, _) ->
    false.

%% What workers/1 shows.
show(State, #data{table = Table, worker = #{id := Id, kind := Kind}, info = Info, restarts = Restarts} = Data) ->
    Connection = maps:get(state, Info, connecting),
    Seen = case State of starting when Kind =:= attach -> Connection; ready -> Connection; _ -> State end,
    Shown = Info#{id => Id, kind => Kind, state => Seen, restarts => Restarts},
    More = [{guardian_pid, snakemux_program:os_pid(Data#data.port)}, {text, Data#data.text}],
    snakemux_table:put_worker(Table, Id, self(), maps:merge(Shown, maps:from_list([P || {_, V} = P <- More, V =/= undefined]))),
    Data.

now_ms() -> erlang:monotonic_time(millisecond).
