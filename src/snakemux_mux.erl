%% Owns the port program: starts it, starts it again when it ends, forwards its events to the callers, cancels the
%% calls of callers that died, keeps the connections that the workers want. It never runs user code and waits for nobody:
%% commands go to the port from the callers' own processes, or through `snakemux_writer'.
-module(snakemux_mux).
-behaviour(gen_server).

-export([start_link/1, ref/1, hand_over/3, command/2, connect/2, disconnect/4, replace/4, sync/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-define(HELLO_TIMEOUT, 5000).
%% Every tick in which the port program was silent it is asked; after so many silent ones it is killed and replaced.
-define(TICK, 1000).
-define(SILENT_TICKS, 4).
-define(MAX_BACKOFF, 5000).
%% A port program that lived for so long is replaced without delay when it ends.
-define(STABLE, 5000).
%% How long the calls that were cancelled when the instance stops may take to say so, and the port program to a last ping.
-define(LAST_WORDS, 500).
-define(NONSENSE, "it speaks something else than the protocol: is it snakemux?").

-record(state, {
    name :: atom(),
    table :: snakemux_table:table(),
    options :: snakemux_options:instance(),
    port :: port() | undefined,
    os_pid :: pos_integer() | undefined,
    %% Since when it speaks; undefined until it has said hello.
    ready :: integer() | undefined,
    failures = 0 :: non_neg_integer(),
    silent = 0 :: non_neg_integer(),
    %% The instance stops: running calls may finish, or nothing may begin any more.
    stopping = false :: false | draining | true,
    handed = snakemux_handed:new() :: snakemux_handed:calls(),
    writer = snakemux_writer:new() :: snakemux_writer:writer(),
    patience = snakemux_patience:new() :: snakemux_patience:patience(),
    parts = snakemux_parts:new() :: snakemux_parts:parts(),
    sender :: pid()
}).

-spec start_link(snakemux_options:instance()) -> {ok, pid()}.
start_link(Options) -> gen_server:start_link(?MODULE, Options, []).

%% @doc A call that this process is about to make. Its calls are cancelled when it dies.
-spec ref(atom()) -> snakemux_table:ref().
ref(Name) ->
    try
        Table = snakemux_table:known(Name),
        {IsKnown, Caller} = snakemux_table:caller(Table),
        IsKnown =:= known orelse cast(Table, {watch, self()}),
        snakemux_table:ref(Table, Caller)
    catch
        error:badarg -> snakemux_table:ref(none, 0) % there is no such instance
    end.

%% @doc Under load a small call that its caller waits for is handed to the mux, which writes it, with others in one
%% frame, and tells its end. That process, or false when the caller is to write the call itself.
-spec hand_over(snakemux_table:ref(), snakemux_proto:session() | undefined, tuple()) -> {ok, pid()} | false.
hand_over(Ref, Session, Message) ->
    case snakemux_table:taker(Ref) of
        Mux when is_pid(Mux) -> snakemux_writer:is_small(Message) andalso hand(Mux, {call, self(), Session, Message});
        direct -> false
    end.

hand(Mux, Call) ->
    Mux ! Call,
    {ok, Mux}.

%% @doc Writes the command of a call from the calling process: a full pipe suspends the caller and nobody else.
-spec command(snakemux_table:ref(), tuple()) -> ok | {error, snakemux_proto:error()}.
command(Ref, Message) ->
    case snakemux_table:port(Ref) of
        {ok, Port} -> write(Ref, Port, Message);
        Error -> Error
    end.

write({Table, _, _} = Ref, Port, Message) ->
    Bytes = snakemux_proto:encode(Message),
    Size = iolist_size(Bytes),
    IsWritten = case Size =< snakemux_proto:fragment() of
        true ->
            snakemux_writer:write(Port, Bytes);
        false ->
            {ok, Sender} = snakemux_table:process(Table, sender),
            snakemux_sender:send(Sender, Port, Ref, Bytes, Size)
    end,
    case IsWritten of
        true -> ok;
        false -> {error, snakemux_proto:error(unavailable, port_down, "the port program is down")}
    end.

%% @doc Connects anew what the table says is wanted for this worker.
-spec connect(snakemux_table:table(), snakemux_proto:worker_id()) -> ok.
connect(Table, Id) -> cast(Table, {connect, Id}).

%% @doc Takes a connection away; `Ref', a call in the table, hears when it is gone.
-spec disconnect(
    snakemux_table:table(), snakemux_table:ref(), snakemux_proto:worker_id(), now | {drain, non_neg_integer()}
) -> ok.
disconnect(Table, Ref, Id, How) -> cast(Table, {disconnect, Ref, Id, How}).

%% @doc Drains a connection, with what the table says is wanted in its place: `Ref' hears when the old one is gone.
-spec replace(snakemux_table:table(), snakemux_table:ref(), snakemux_proto:worker_id(), {drain, non_neg_integer()}) -> ok.
replace(Table, Ref, Id, How) -> cast(Table, {replace, Ref, Id, How}).

%% One that is not there has nothing to do: the next one starts from what is in the table.
cast(Table, Message) ->
    case snakemux_table:process(Table, mux) of
        {ok, Mux} -> gen_server:cast(Mux, Message);
        none -> ok
    end.

%% @doc Returns when the mux has finished what it was doing.
-spec sync(snakemux_table:ref()) -> ok.
sync({Table, _, _}) ->
    {ok, Mux} = snakemux_table:process(Table, mux),
    try
        gen_server:call(Mux, sync, infinity)
    catch
        exit:_ -> ok
    end.

%% @private
init(#{name := Name} = Options) ->
    process_flag(trap_exit, true),
    process_flag(message_queue_data, off_heap),
    process_flag(min_heap_size, 10000), % what one frame of events takes: few collections, and little lives for long
    {ok, Table} = snakemux_table:find(Name),
    State = #state{name = Name, table = Table, options = Options, sender = snakemux_sender:start_link()},
    snakemux_table:put_process(Table, mux, self()),
    snakemux_table:put_process(Table, sender, State#state.sender),
    %% What an earlier life of this process left behind: its port, to which callers may even have been told not to write
    %% themselves, and then their calls. Those that were handed over watch that life themselves.
    snakemux_table:withdraw(Table, (down_error("it is starting"))#{sent => false}),
    _ = snakemux_delivery:fail_all(Table, down_error("the process that owned the port program ended"), State#state.handed),
    lists:foreach(fun(Pid) -> erlang:monitor(process, Pid) end, snakemux_table:callers(Table)),
    erlang:send_after(?TICK, self(), tick),
    %% A port program that is well is there when the instance's start returns, so that calls can wait for workers.
    {ok, await_hello(start_port(State))}.

await_hello(#state{port = Port, ready = undefined} = State) when is_port(Port) ->
    receive Message -> await_hello(handle(Message, State)) end;
await_hello(State) ->
    State.

%% A message taken from the mailbox while the server's own loop does not run.
handle({'$gen_call', From, sync}, State) -> gen_server:reply(From, ok), State;
handle({'$gen_cast', Message}, State) -> {noreply, Next} = handle_cast(Message, State), Next;
handle(Message, State) -> {noreply, Next} = handle_info(Message, State), Next.

%% @private
handle_call(sync, _, State) -> {reply, ok, State}.

%% @private
handle_cast({watch, Pid}, State) ->
    erlang:monitor(process, Pid),
    {noreply, State};
handle_cast({connect, _}, #state{ready = undefined} = State) ->
    {noreply, State};
handle_cast({connect, Id}, #state{table = Table} = State) ->
    %% In one frame, so that no call finds neither the old nor the new connection.
    case snakemux_table:wanted(Table, Id) of
        [Connect] -> {noreply, push([{disconnect, {disconnect, Id}, Id, now}, Connect], State)};
        [] -> {noreply, State}
    end;
handle_cast({_, Ref, _, _}, #state{ready = undefined} = State) ->
    {noreply, finish(Ref, {error, down_error("it is starting")}, State)};
handle_cast({disconnect, Ref, Id, How}, State) ->
    {noreply, push([{disconnect, snakemux_table:tag(Ref), Id, How}], State)};
handle_cast({replace, Ref, Id, How}, #state{table = Table} = State) ->
    {noreply, push([{disconnect, snakemux_table:tag(Ref), Id, How} | snakemux_table:wanted(Table, Id)], State)}.

%% @private
%% A crash report would print what this process was working on: arguments and results.
handle_info(Message, State) ->
    try
        info(Message, State)
    catch
        Class:Reason:Stack ->
            Why = case Reason of {Kind, _} when is_atom(Kind) -> Kind; Kind when is_atom(Kind) -> Kind; _ -> Class end,
            Where = [{M, F, case A of _ when is_list(A) -> length(A); _ -> A end} || {M, F, A, _} <- Stack],
            logger:error("snakemux ~p: a fault of ours, ~p in ~0p", [State#state.name, Why, Where]),
            exit({shutdown, {Why, Where}})
    end.

info({Port, {data, Frame}}, #state{port = Port} = State) ->
    {noreply, take_frame(Frame, State#state{silent = 0})};
info({call, Pid, Session, Message}, #state{handed = Handed} = State) ->
    {noreply, take_call(Message, State#state{handed = snakemux_handed:add(element(2, Message), Pid, Session, Handed)})};
info(write_gathered, #state{writer = Writer} = State) ->
    {noreply, State#state{writer = snakemux_writer:write_gathered(Writer)}};
info({decoded, Port, Tag, Event}, #state{port = Port, parts = Parts} = State) when Event =/= error ->
    {Waiting, Rest} = snakemux_parts:decoded(Tag, Parts),
    {noreply, take_events([Event | Waiting], renew_patience(State#state{parts = Rest}))};
info({decoded, Port, _, error}, #state{port = Port} = State) ->
    {noreply, port_down(?NONSENSE, State)};
info({written, Port}, #state{port = Port, writer = Writer} = State) ->
    {noreply, State#state{writer = snakemux_writer:written(Writer)}};
info({'DOWN', _, process, Pid, _}, #state{table = Table, handed = Handed} = State) ->
    case snakemux_table:remove_caller(Table, Pid) of
        [Caller] ->
            Refs = snakemux_table:calls(Table, Caller),
            lists:foreach(fun snakemux_table:take_call/1, Refs),
            {Tags, Rest} = snakemux_handed:drop(Caller, Handed),
            {noreply, cancel(Tags ++ lists:map(fun snakemux_table:tag/1, Refs), State#state{handed = Rest})};
        [] ->
            {noreply, State}
    end;
info({Port, {exit_status, Status}}, #state{port = Port} = State) ->
    #state{ready = Ready, options = #{program := Program}} = State,
    {noreply, port_down(snakemux_program:exit_text(Status, Ready =/= undefined, Program), State#state{os_pid = undefined})};
info({'EXIT', Port, Reason}, #state{port = Port} = State) ->
    {noreply, port_down(io_lib:format("its port closed: ~p", [Reason]), State)};
info({'EXIT', Sender, Reason}, #state{sender = Sender} = State) ->
    {stop, {shutdown, {sender, Reason}}, State};
info(tick, State) ->
    erlang:send_after(?TICK, self(), tick),
    {noreply, tick(State)};
info({hello_timeout, Port}, #state{port = Port, ready = undefined} = State) ->
    {noreply, port_down("it did not say hello: is it snakemux?", State)};
info(start, #state{port = undefined, stopping = false} = State) ->
    {noreply, start_port(State)};
info(_, State) ->
    {noreply, State}.

%% @private
%% The instance stops: new calls are turned away, running ones finish until drain_timeout, the rest are cancelled.
terminate(Reason, #state{options = #{drain_timeout := Drain}} = State) when Reason =:= shutdown; Reason =:= normal ->
    #state{table = Table} = State,
    snakemux_table:stop(Table),
    #state{handed = Handed} = Drained = drain(State#state{stopping = draining}, now_ms() + Drain),
    Tags = snakemux_handed:tags(Handed) ++ lists:map(fun snakemux_table:tag/1, snakemux_table:calls(Table, all)),
    Error = snakemux_proto:error(unavailable, stopping, "the instance is stopping", true),
    over(Error, await_pong(drain(cancel(Tags, Drained#state{stopping = true}), now_ms() + ?LAST_WORDS)));
%% After a fault of ours the state is that of before: some of those that had handed over may have been answered since.
%% All of them see the end of this process.
terminate(_, State) ->
    over(down_error("the process that owned it ended"), State#state{handed = snakemux_handed:new()}).

over(Error, #state{ready = Ready, table = Table} = State) ->
    %% The BEAM may end right after this, and what it was about to kill would stay.
    Ready =/= undefined orelse kill(State),
    close(State),
    snakemux_table:withdraw(Table, Error#{sent => false}),
    snakemux_delivery:fail_all(Table, Error, (take_calls(State#state{stopping = true}))#state.handed).

drain(State0, Until) ->
    #state{table = Table, ready = Ready, handed = Handed} = State = take_calls(State0),
    Left = Until - now_ms(),
    HasCalls = not snakemux_handed:is_empty(Handed) orelse snakemux_table:has_calls(Table),
    case Ready =/= undefined andalso Left > 0 andalso HasCalls of
        true -> receive Message -> drain(handle(Message, State), Until) after Left -> State end;
        false -> State
    end.

%% Calls that were handed over before anybody was turned away, and are not known yet.
take_calls(State) ->
    receive {call, _, _, _} = Call -> take_calls(handle(Call, State)) after 0 -> State end.

%% One that is stopped or stuck would not see that its stdin has ended, and stay: it is killed.
await_pong(#state{ready = undefined} = State) -> State;
await_pong(State) -> await_pong(push([{ping, {mux, last}}], State#state{silent = 1}), now_ms() + ?LAST_WORDS).

await_pong(#state{silent = Silent, port = Port} = State, _) when Silent =:= 0; Port =:= undefined -> State;
await_pong(State, Until) ->
    receive
        Message -> await_pong(handle(Message, State), Until)
    after max(0, Until - now_ms()) ->
        kill(State),
        State
    end.

%% ---- The port program ----

start_port(#state{options = #{program := Program, arguments := Arguments}} = State) ->
    case snakemux_program:start(Program, Arguments) of
        {ok, Port} ->
            erlang:send_after(?HELLO_TIMEOUT, self(), {hello_timeout, Port}),
            State#state{port = Port, os_pid = snakemux_program:os_pid(Port), silent = 0};
        {error, Text} ->
            port_down(Text, State)
    end.

%% The end of the port program: every waiting caller hears of it at once; the workers go on, a new one is started.
port_down(Why, #state{name = Name, table = Table, ready = Ready} = State) ->
    %% One that never said hello may not care about its stdin either.
    _ = Ready =/= undefined orelse kill_soon(State),
    close(State),
    Error = down_error(Why),
    snakemux_table:withdraw(Table, Error#{sent => false}),
    Handed = snakemux_delivery:fail_all(Table, Error, State#state.handed),
    snakemux_delivery:tell_workers(connecting, #{reason => port_down}, Table),
    Stable = Ready =/= undefined andalso now_ms() - Ready >= ?STABLE,
    Failures = case Stable of true -> 0; false -> State#state.failures end,
    Delay = case Failures of 0 -> 0; _ -> min(?MAX_BACKOFF, 50 bsl min(Failures, 7)) end,
    logger:error("snakemux ~p: the port program is down: ~ts", [Name, Why]),
    erlang:send_after(Delay, self(), start),
    State#state{port = undefined, os_pid = undefined, ready = undefined, failures = Failures + 1,
                writer = snakemux_writer:new(), handed = Handed, parts = snakemux_parts:new()}.

down_error(Why) ->
    snakemux_proto:error(unavailable, port_down, ["the port program is down: ", Why], true).

close(#state{port = undefined}) -> ok;
close(#state{port = Port}) -> snakemux_program:close(Port).

kill(#state{os_pid = Pid, options = #{program := Program}}) -> snakemux_program:kill(Pid, Program).

%% Killing takes up to a second on a busy machine, which nobody who waits for this process should feel.
kill_soon(State) -> spawn(fun() -> kill(State) end).

tick(#state{ready = undefined} = State) ->
    State;
tick(#state{silent = ?SILENT_TICKS} = State) ->
    _ = kill_soon(State),
    port_down("it said nothing for several seconds and was killed", State);
tick(#state{silent = Silent, table = Table, handed = Handed, options = #{session_ttl := Ttl}} = State) ->
    lists:foreach(fun(Session) -> snakemux_table:use_pin(Table, Session) end, snakemux_handed:sessions(Handed)),
    snakemux_table:expire_pins(Table, now_ms(), Ttl),
    push([{ping, {mux, ping}}], State#state{silent = Silent + 1}).

%% What its caller has seen in the table may not hold any more.
take_call(Message, #state{table = Table, ready = Ready, stopping = Stopping} = State) when Ready =:= undefined; Stopping =:= true ->
    {Caller, Call} = element(2, Message),
    Ref = {Table, Caller, Call},
    {error, Error} = snakemux_table:port(Ref),
    finish(Ref, {error, Error#{command => element(4, Message)}}, State);
take_call(Message, #state{writer = Writer} = State) ->
    State#state{writer = snakemux_writer:gather(Message, Writer)}.

%% Behind their commands: the port program takes what it doesn't know for what is over.
cancel(Tags, #state{writer = Writer} = State) ->
    push([{cancel, Tag} || Tag <- Tags], State#state{writer = snakemux_writer:write_gathered(Writer)}).

push(Messages, #state{writer = Writer} = State) -> State#state{writer = snakemux_writer:push(Messages, Writer)}.

finish(Ref, Event, #state{handed = Handed} = State) -> State#state{handed = snakemux_delivery:finish(Ref, Event, Handed)}.

%% ---- Events ----

take_frame(Frame, State) ->
    try snakemux_proto:decode(Frame) of
        Events ->
            #state{writer = Writer} = State,
            take_events(Events, renew_patience(State#state{writer = snakemux_writer:weigh(length(Events), Writer)}))
    catch
        error:badarg -> port_down(?NONSENSE, State)
    end.

take_events([], State) ->
    State;
%% What is behind its nonsense.
take_events(_, #state{port = undefined} = State) ->
    State;
take_events([Event | Rest] = Events, #state{port = Port, parts = Parts} = State) ->
    case snakemux_parts:take(Event, Port, Parts) of
        {now, Left} -> handle_events(Events, State#state{parts = Left});
        {later, More} -> take_events(Rest, State#state{parts = More})
    end.

%% What of one stream comes in a row is counted at once.
handle_events([{chunk, {_, _} = Tag, _} | _] = Events, #state{table = Table} = State) ->
    {Chunks, Rest} = lists:splitwith(fun({chunk, Its, _}) -> Its =:= Tag; (_) -> false end, Events),
    snakemux_delivery:chunks(Tag, Chunks, Table),
    take_events(Rest, State);
handle_events([Event | Rest], State) ->
    take_events(Rest, handle_event(Event, State)).

handle_event({hello, _, _}, #state{ready = Ready} = State) when Ready =/= undefined ->
    port_down(?NONSENSE, State);
handle_event({hello, Version, Info}, State) ->
    hello(Version =:= snakemux_proto:version(), Version, Info, State);
handle_event({protocol_error, Info}, State) ->
    logger:error("snakemux ~p: protocol error: ~p", [State#state.name, Info]),
    State;
handle_event(Event, #state{table = Table, handed = Handed} = State) ->
    case snakemux_delivery:event(Event, Table, Handed) of
        Handed -> State;
        Left -> State#state{handed = Left, patience = snakemux_patience:make_way(State#state.patience)}
    end.

renew_patience(#state{patience = Patience} = State) -> State#state{patience = snakemux_patience:renew(Patience)}.

%% Everything that the last one knew goes in one frame, and before any call.
hello(true, _, #{limits := Limits}, #state{port = Port, table = Table} = State) ->
    Pins = [{pin, Session, Id, Incarnation} || {Session, Id, Incarnation} <- snakemux_table:pins(Table)],
    Wanted = snakemux_table:wanted(Table, all),
    Writer = snakemux_writer:new(Table, Port, maps:get(max_frame, Limits, 0)),
    Options = {options, {mux, options}, #{batch => true, meta => false, pins => true, fragment => snakemux_proto:fragment()}},
    snakemux_sender:limit(State#state.sender, maps:get(max_parts, Limits, 0)),
    Next = push([Options | Wanted ++ Pins], State#state{ready = now_ms(), writer = Writer}),
    State#state.stopping =/= false orelse snakemux_table:publish(Table, Port),
    Next;
hello(_, Version, Info, #state{options = #{program := Program}} = State) ->
    port_down(snakemux_program:version_text(Version, Info, Program), State).

now_ms() -> erlang:monotonic_time(millisecond).
