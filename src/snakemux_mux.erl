%% Owns the port program: starts it, starts it again when it ends, forwards its events to the callers, cancels the
%% calls of callers that died. It never runs user code and never waits: commands go to the port from the callers'
%% own processes, and what this process itself writes is dropped rather than waited for when the pipe is full.
-module(snakemux_mux).
-behaviour(gen_server).

-export([start_link/1, watch/2, send/2, sync/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-define(HELLO_TIMEOUT, 5000).
-define(TICK, 1000).
%% A port program with running calls that says nothing for so long, though it was asked, is killed and replaced.
-define(SILENCE, 3000).
-define(MAX_BACKOFF, 5000).

-record(state, {
    name :: atom(),
    table :: snakemux_table:table(),
    options :: snakemux_options:instance(),
    port :: port() | undefined,
    os_pid :: pos_integer() | undefined,
    ready = false :: boolean(),
    failures = 0 :: non_neg_integer(),
    heard = 0 :: integer(),
    pinged :: integer() | undefined,
    unsent = [] :: [term()]
}).

-spec start_link(snakemux_options:instance()) -> {ok, pid()}.
start_link(Options) -> gen_server:start_link(?MODULE, Options, []).

%% @doc The calls of this process are cancelled when it dies.
-spec watch(snakemux_table:table(), pid()) -> ok.
watch(Table, Pid) ->
    case snakemux_table:mux(Table) of
        {ok, Mux} -> gen_server:cast(Mux, {watch, Pid});
        none -> ok
    end.

%% @doc Writes a message to the port program, from the calling process; a full pipe suspends the caller and nobody
%% else. False when there is no such port any more.
-spec send(port(), term()) -> boolean().
send(Port, Message) ->
    try
        port_command(Port, snakemux_proto:encode(Message))
    catch
        error:badarg -> false
    end.

%% @doc Returns when the mux has finished what it was doing.
-spec sync(snakemux_table:table()) -> ok.
sync(Table) ->
    {ok, Mux} = snakemux_table:mux(Table),
    try
        gen_server:call(Mux, sync, infinity)
    catch
        exit:_ -> ok
    end.

%% @private
init(#{name := Name} = Options) ->
    process_flag(trap_exit, true),
    process_flag(message_queue_data, off_heap),
    {ok, Table} = snakemux_table:find(Name),
    State = #state{name = Name, table = Table, options = Options},
    snakemux_table:put_mux(Table, self()),
    %% What an earlier life of this process left behind.
    fail_calls(State, down_error("the process that owned the port program ended")),
    [gen_server:cast(self(), {watch, Pid}) || Pid <- snakemux_table:watched(Table)],
    _ = timer:send_interval(?TICK, tick),
    %% A port program that is well is there when the instance's start returns, so that calls can wait for workers.
    {ok, await_hello(start_port(State))}.

await_hello(#state{port = undefined} = State) -> State;
await_hello(#state{ready = true} = State) -> State;
await_hello(#state{port = Port} = State) ->
    receive
        {Port, _} = Message -> hello_info(Message, State);
        {'EXIT', Port, _} = Message -> hello_info(Message, State);
        {hello_timeout, Port} = Message -> hello_info(Message, State)
    end.

hello_info(Message, State) ->
    {noreply, Next} = handle_info(Message, State),
    await_hello(Next).

%% @private
handle_call(sync, _, State) -> {reply, ok, State}.

%% @private
handle_cast({watch, Pid}, State) ->
    erlang:monitor(process, Pid),
    {noreply, State}.

%% @private
handle_info({Port, {data, Frame}}, #state{port = Port} = State) ->
    Events = snakemux_proto:decode(Frame),
    {noreply, lists:foldl(fun handle_event/2, State#state{heard = now_ms(), pinged = undefined}, Events)};
handle_info({'DOWN', _, process, Pid, _}, #state{table = Table} = State) ->
    snakemux_table:unwatch(Table, Pid),
    {noreply, lists:foldl(fun(Ref, S) -> push({cancel, {State#state.name, Pid, Ref}}, S) end, State,
                          snakemux_table:calls_of(Table, Pid))};
handle_info({Port, {exit_status, Status}}, #state{port = Port} = State) ->
    {noreply, port_down(exit_text(Status, State), State)};
handle_info({'EXIT', Port, Reason}, #state{port = Port} = State) ->
    {noreply, port_down(io_lib:format("its port closed: ~p", [Reason]), State)};
handle_info(tick, State) ->
    {noreply, tick(State)};
handle_info({hello_timeout, Port}, #state{port = Port, ready = false} = State) ->
    {noreply, port_down("it did not say hello: is it snakemux?", State)};
handle_info(start, #state{port = undefined} = State) ->
    {noreply, start_port(State)};
handle_info({'EXIT', Pid, Reason}, State) when is_pid(Pid) ->
    {stop, Reason, State};
handle_info(_, State) ->
    {noreply, State}.

%% @private
%% New calls are turned away, running ones finish until drain_timeout, the rest are cancelled.
terminate(_, #state{table = Table, options = #{drain_timeout := Drain}} = State) ->
    snakemux_table:stop(Table),
    Drained = drain(State, now_ms() + Drain),
    [push({cancel, {Drained#state.name, Pid, Ref}}, Drained) || {Pid, Ref} <- snakemux_table:calls(Table)],
    Last = drain(Drained, now_ms() + 500),
    fail_calls(Last, snakemux_proto:error(unavailable, stopping, "the instance is stopping", true)),
    close(Last).

drain(#state{port = Port, table = Table} = State, Until) ->
    case snakemux_table:calls(Table) =/= [] andalso State#state.ready andalso Until - now_ms() of
        Left when is_integer(Left), Left > 0 ->
            receive
                {Port, {data, Frame}} ->
                    drain(lists:foldl(fun handle_event/2, State, snakemux_proto:decode(Frame)), Until);
                {Port, {exit_status, _}} -> State#state{ready = false};
                {'EXIT', Port, _} -> State#state{ready = false}
            after Left -> State
            end;
        _ ->
            State
    end.

%% ---- The port program ----

start_port(#state{options = #{program := Program, arguments := Arguments}} = State) ->
    try
        Port = open_port({spawn_executable, Program}, [
            binary, exit_status, use_stdio, {packet, 4}, {args, ["port" | Arguments]}, {env, snakemux_env:filtered(all)}
        ]),
        erlang:send_after(?HELLO_TIMEOUT, self(), {hello_timeout, Port}),
        {os_pid, Pid} = erlang:port_info(Port, os_pid),
        State#state{port = Port, os_pid = Pid, ready = false, heard = now_ms(), pinged = undefined, unsent = []}
    catch
        error:Reason -> port_down(start_text(Program, Reason), State)
    end.

start_text(Program, enoent) ->
    io_lib:format("~ts is not there: build it with make (or mix compile, rebar3 compile), or set the option program",
                  [Program]);
start_text(Program, eacces) ->
    io_lib:format("~ts may not be executed: chmod +x it", [Program]);
start_text(Program, Reason) ->
    io_lib:format("~ts can't be started: ~p", [Program, Reason]).

exit_text(127, #state{options = #{program := Program}}) ->
    io_lib:format("it ended at once with status 127: most likely a shared library is missing; ldd ~ts names it",
                  [Program]);
exit_text(Status, #state{options = #{program := Program}}) ->
    io_lib:format("~ts ended with status ~b", [Program, Status]).

%% The end of the port program: every waiting caller hears of it at once; the workers go on, a new one is started.
port_down(Why, #state{table = Table, failures = Failures, ready = Ready} = State) ->
    close(State),
    Error = down_error(Why),
    snakemux_table:withdraw(Table, Error#{sent => false}),
    fail_calls(State, Error),
    [Pid ! {snakemux_worker, connecting, #{reason => port_down}} || {_, Pid, _} <- snakemux_table:workers(Table)],
    Delay = case Ready of true -> 0; false -> min(?MAX_BACKOFF, 100 bsl min(Failures, 6)) end,
    logger:error("snakemux ~p: the port program is down: ~ts", [State#state.name, Why]),
    erlang:send_after(Delay, self(), start),
    State#state{port = undefined, os_pid = undefined, ready = false, failures = Failures + 1}.

down_error(Why) ->
    snakemux_proto:error(unavailable, port_down, ["the port program is down: ", Why], true).

close(#state{port = undefined}) -> ok;
close(#state{port = Port, os_pid = Pid, ready = Ready}) ->
    catch port_close(Port),
    %% One that never said hello may not care about its stdin either.
    Ready orelse kill(Pid),
    receive {'EXIT', Port, _} -> ok after 0 -> ok end.

kill(undefined) -> ok;
kill(Pid) ->
    case os:find_executable("kill") of
        false -> ok;
        Kill ->
            catch open_port({spawn_executable, Kill}, [{args, ["-KILL", integer_to_list(Pid)]}, stderr_to_stdout]),
            ok
    end.

fail_calls(#state{name = Name, table = Table}, Error) ->
    [finish(Table, {Name, Pid, Ref}, {error, Error}) || {Pid, Ref} <- snakemux_table:calls(Table)],
    ok.

%% Asks a silent port program that has calls to run; kills one that does not answer. An idle one is left alone.
tick(#state{ready = true, pinged = undefined, heard = Heard, table = Table} = State) ->
    Ttl = maps:get(session_ttl, State#state.options),
    snakemux_table:expire_pins(Table, now_ms(), Ttl),
    case now_ms() - Heard >= ?TICK andalso snakemux_table:has_calls(Table) of
        true -> push({ping, {mux, ping}}, State#state{pinged = now_ms()});
        false -> flush(State)
    end;
tick(#state{ready = true, pinged = Pinged, os_pid = Pid} = State) ->
    case now_ms() - Pinged >= ?SILENCE of
        true ->
            kill(Pid),
            port_down(io_lib:format("it said nothing for ~b ms and was killed", [?SILENCE]), State);
        false ->
            flush(State)
    end;
tick(State) ->
    State.

%% This process must not be suspended by a full pipe: what can't be written now is written at a later tick.
push(Message, #state{unsent = Unsent} = State) ->
    flush(State#state{unsent = Unsent ++ [Message]}).

flush(#state{unsent = []} = State) -> State;
flush(#state{port = undefined} = State) -> State#state{unsent = []};
flush(#state{port = Port, unsent = [Message | Rest]} = State) ->
    try port_command(Port, snakemux_proto:encode(Message), [nosuspend]) of
        true -> flush(State#state{unsent = Rest});
        false -> State
    catch
        error:badarg -> State#state{unsent = []}
    end.

%% ---- Events ----

handle_event({chunk, {_, Pid, _} = Ref, Chunk}, #state{table = Table} = State) ->
    Left = snakemux_table:count_chunk(Table, Ref),
    Left =:= over orelse (Pid ! {snakemux, Ref, {chunk, unwrap(Chunk)}}),
    Left =:= passive andalso (Pid ! {snakemux, Ref, passive}),
    State;
handle_event({ok, {_, Pid, _} = Ref, Result, Meta}, #state{table = Table} = State) when is_pid(Pid) ->
    keep_pin(Table, finish(Table, Ref, {ok, unwrap(Result)}), Meta),
    State;
handle_event({done, Ref, Meta}, #state{table = Table} = State) ->
    keep_pin(Table, finish(Table, Ref, {done, Meta}), Meta),
    State;
handle_event({error, {_, Pid, _} = Ref, Error}, #state{table = Table} = State) when is_pid(Pid) ->
    case finish(Table, Ref, {error, explain(Error, Table)}) of
        {ok, Session} when Session =/= undefined, map_get(reason, Error) =:= session_lost ->
            snakemux_table:unpin(Table, Session);
        _ -> ok
    end,
    State;
handle_event({worker, Id, WorkerState, Info}, #state{table = Table} = State) ->
    case snakemux_table:worker(Table, Id) of
        {ok, Pid, _} -> Pid ! {snakemux_worker, WorkerState, Info};
        none -> ok
    end,
    State;
handle_event({hello, Version, Info}, State) ->
    hello(Version =:= snakemux_proto:version(), Version, Info, State);
handle_event({protocol_error, Info}, State) ->
    logger:error("snakemux ~p: protocol error: ~p", [State#state.name, Info]),
    State;
handle_event(_, State) ->
    State.

%% The answers to what this process and the workers themselves asked for end here.
finish(Table, {_, Pid, _} = Ref, Event) ->
    case snakemux_table:take_call(Table, Ref) of
        {ok, Session} ->
            Pid ! {snakemux, Ref, Event},
            {ok, Session};
        none ->
            none
    end.

keep_pin(Table, {ok, Session}, #{worker := Id, incarnation := Incarnation}) when Session =/= undefined ->
    snakemux_table:pin(Table, Session, Id, Incarnation);
keep_pin(_, _, _) ->
    ok.

unwrap(#{<<"snakemux.value">> := Value} = Map) when map_size(Map) =:= 1 -> Value;
unwrap(Value) -> Value.

%% That no worker took a call has reasons that only this side knows.
explain(#{reason := Reason, origin := mux, sent := false, message := Message} = Error, Table)
        when Reason =:= no_worker; Reason =:= worker_down; Reason =:= deadline ->
    Texts = [[$\n, Id, ": ", Text] || {Id, _, #{text := Text}} <- snakemux_table:workers(Table)],
    Error#{message := iolist_to_binary([Message | Texts])};
explain(Error, _) ->
    Error.

hello(true, _, #{limits := _}, #state{port = Port, table = Table} = State) ->
    send(Port, {options, {mux, options}, #{batch => true}}),
    Wanted = snakemux_table:wanted(Table),
    connect(Port, Wanted),
    [send(Port, {pin, Session, Id, Incarnation}) || {Session, Id, Incarnation} <- snakemux_table:pins(Table)],
    snakemux_table:publish(Table, Port),
    %% What a worker came to want while the port was not published yet.
    connect(Port, snakemux_table:wanted(Table) -- Wanted),
    State#state{ready = true, failures = 0};
hello(_, Version, Info, #state{options = #{program := Program}} = State) ->
    Text = io_lib:format("~ts speaks version ~p of the protocol (~p), this application version ~b: build both from one source",
                         [Program, Version, Info, snakemux_proto:version()]),
    port_down(Text, State).

connect(Port, Wanted) ->
    [
        send(Port, [
            {disconnect, {mux, disconnect}, Id, now},
            {connect, {mux, connect}, Id, Target, Options}
        ])
     || {Id, Target, Options} <- Wanted
    ].

now_ms() -> erlang:monotonic_time(millisecond).
