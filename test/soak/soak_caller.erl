%% A caller: a few random calls at a time, in message mode, so that nothing of its mailbox goes unseen. What it checks:
%%
%% - Exactly one terminal event for each call, always its last: any later event finds its call no longer among the live
%%   ones. An abandoned call sends none at all.
%% - It comes at most `margin' ms after the call's timeout or its cancellation; and after the time that the watchdog
%%   takes, when the port program was stopped meanwhile.
%% - Results belong to their call; chunks come in order, without gaps, never more than there was credit for, and
%%   `passive' follows the one that takes the last credit; a `done' stream is complete; a session forgets nothing
%%   unless its loss was told.
%% - No deadline before its time, no `cancelled' that nobody asked for, no error that the accidents don't explain.
-module(soak_caller).

-export([start/2, finish/1, all/0, now_ms/0]).

%% How late an answer may be on a machine that has other things to do, and when the port program was stopped: its
%% watchdog waits for five seconds at most.
-define(MARGIN, 2000).
-define(STOPPED_MARGIN, 7500).
%% The API's own functions that wait for nobody.
-define(PROMPT, 1000).
%% Timers of the worker and of the port program may differ by so much.
-define(EARLY, 50).

-define(AT_ONCE, 3).
-define(PAUSE, 300).
-define(DATA, 102400).
-define(GRANTS, [chunk, chunk, chunk, chunk, chunk, passive, passive, passive, passive, late, late, never]).

-record(call, {
    command :: binary(),
    id :: integer(),
    %% What the answer must be: a map that is part of it, a number of chunks, or a session.
    wanted :: map() | pos_integer() | {session, binary()},
    started :: integer(),
    %% When the answer is due: its deadline, or now that it was cancelled.
    due :: integer() | infinity,
    timeout :: pos_integer() | infinity,
    cancelled = false :: boolean(),
    chunks = 0 :: non_neg_integer(),
    left = 0 :: integer(),
    passive = false :: boolean(),
    %% How a stream is consumed: credit for each chunk, after a while, at `passive', or never.
    grant = chunk :: chunk | late | passive | never
}).

-record(state, {
    name :: atom(),
    index :: pos_integer(),
    text :: binary(),
    live = #{} :: #{snakemux:ref() => #call{}},
    %% What a session counted last, none since its loss was told.
    counts = #{} :: #{binary() => pos_integer()},
    finishing = false :: boolean()
}).

-spec start(atom(), pos_integer()) -> {pid(), reference()}.
start(Name, Index) ->
    spawn_monitor(fun() ->
        register(list_to_atom("soak_caller_" ++ integer_to_list(Index)), self()),
        Text = base64:encode(rand:bytes(2 * ?DATA)),
        loop(pause(#state{name = Name, index = Index, text = Text}))
    end).

%% @doc It starts no more calls and ends when those that it has are over.
-spec finish(pid()) -> term().
finish(Pid) -> Pid ! finish.

%% @doc The living callers.
-spec all() -> [pid()].
all() -> [whereis(Name) || Name <- registered(), lists:prefix("soak_caller_", atom_to_list(Name))].

loop(#state{finishing = true, live = Live}) when map_size(Live) =:= 0 ->
    %% An event too many would come soon.
    receive {snakemux, _, Event} -> soak_book:violation("an event behind the last one: ~0P", [Event, 20]) after 500 -> ok end;
loop(State) ->
    receive
        {snakemux, Ref, Event} -> loop(event(Ref, Event, State));
        {act, Ref, Act} -> loop(act(Act, Ref, State));
        start -> loop(pause(start_some(State)));
        finish -> loop(State#state{finishing = true})
    end.

pause(State) ->
    erlang:send_after(rand:uniform(?PAUSE), self(), start),
    State.

%% ---- Calls ----

start_some(#state{finishing = true} = State) -> State;
start_some(#state{live = Live} = State) when map_size(Live) >= ?AT_ONCE -> State;
start_some(#state{live = Live} = State) when map_size(Live) =:= 0 ->
    case rand:uniform(8) of 1 -> wait_for_one(State); _ -> start_one(State) end;
start_some(State) -> start_one(State).

start_one(#state{name = Name, live = Live} = State) ->
    {Kind, Call0, Args, Options} = random_call(State),
    #call{command = Command, timeout = Timeout} = Call = Call0#call{started = now_ms()},
    Ref = snakemux:Kind(Name, Command, Args, Options),
    soak_book:count({started, Command}),
    Due = case Timeout of infinity -> infinity; _ -> Call#call.started + Timeout end,
    _ = [erlang:send_after(Timeout + ?STOPPED_MARGIN, self(), {act, Ref, overdue}) || Timeout =/= infinity],
    fate(Ref, Timeout, Kind),
    State#state{live = Live#{Ref => Call#call{due = Due}}}.

%% Some callers lose their patience; all do whose call has no deadline.
fate(Ref, Timeout, Kind) ->
    Latest = case Timeout of infinity -> 5000; _ -> Timeout end,
    case rand:uniform(10) of
        1 -> erlang:send_after(rand:uniform(Latest), self(), {act, Ref, cancel});
        2 when Kind =:= execute_stream -> erlang:send_after(rand:uniform(Latest), self(), {act, Ref, abandon});
        3 -> erlang:send_after(rand:uniform(Latest), self(), {act, Ref, abandon});
        _ when Timeout =:= infinity -> erlang:send_after(Latest, self(), {act, Ref, cancel});
        _ -> ok
    end.

%% The functions that wait: one answer, in time, and nothing behind it, which the loop would see.
wait_for_one(#state{name = Name} = State) ->
    {Kind, Call0, Args, Options0} = random_call(State),
    Timeout = case Call0#call.timeout of infinity -> 3000; Ms -> Ms end,
    #call{command = Command} = Call = Call0#call{started = now_ms(), timeout = Timeout, due = now_ms() + Timeout, left = infinity},
    Options = Options0#{timeout => Timeout},
    soak_book:count({started, Command}),
    Event =
        case Kind of
            execute_async -> snakemux:execute(Name, Command, Args, Options);
            execute_stream ->
                Stop = rand:uniform(200),
                Fold = fun(_, N) when N =:= Stop -> {halt, halted}; (_, N) -> {cont, N + 1} end,
                case snakemux:stream_fold(Name, Command, Args, Fold, 0, Options) of
                    {ok, halted} -> halted;
                    {ok, _} -> {done, #{}};
                    {error, Error, _} -> {error, Error}
                end
        end,
    Ref = make_ref(),
    case Event of
        halted -> soak_book:count({ended, Command, halted, none}), State;
        {done, _} -> ended(Ref, {done, #{}}, Call#call{chunks = Call#call.wanted}, State);
        _ -> ended(Ref, Event, Call, State)
    end.

random_call(#state{index = Index, text = Text, live = Live}) ->
    Id = erlang:unique_integer([positive]),
    Timeout = any([30, 200, 1000, 1000, 3000, 3000, 5000, 10000, infinity]),
    Plain = #{timeout => Timeout},
    Call = #call{command = <<>>, id = Id, wanted = #{}, started = 0, due = infinity, timeout = Timeout},
    case rand:uniform(20) of
        N when N =< 5 ->
            Data = binary:part(Text, rand:uniform(?DATA), ?DATA),
            Args = #{<<"id">> => Id, <<"data">> => Data},
            {execute_async, Call#call{command = <<"echo">>, wanted = Args}, Args, Plain};
        N when N =< 9 ->
            X = rand:uniform(1 bsl 30),
            {execute_async, Call#call{command = <<"compute">>, wanted = #{<<"y">> => X * X}}, #{id => Id, x => X}, Plain};
        N when N =< 13 ->
            Count = any([1, 10, 100, 300]),
            Credit = any([1, 4, 16]),
            Args = #{id => Id, count => Count, size => any([10, 1000, 30000])},
            {execute_stream,
             Call#call{command = <<"numbers">>, wanted = Count, left = Credit, grant = any(?GRANTS)},
             Args, Plain#{credit => Credit}};
        N when N =< 15 -> {execute_async, Call#call{command = <<"hang">>}, #{id => Id}, Plain};
        16 -> {execute_async, Call#call{command = <<"crash">>}, #{id => Id}, Plain};
        17 -> {execute_async, Call#call{command = <<"leak">>}, #{id => Id}, Plain};
        _ ->
            %% Never two calls of a session side by side: they may be answered in any order.
            Busy = [S || #call{wanted = {session, S}} <- maps:values(Live)],
            Session = any([<<"s", (integer_to_binary(Index))/binary, $-, N>> || N <- "123"] -- Busy),
            {execute_async, Call#call{command = <<"count">>, wanted = {session, Session}}, #{id => Id}, Plain#{session => Session}}
    end.

%% ---- What happens to them ----

act(_, Ref, #state{live = Live} = State) when not is_map_key(Ref, Live) -> State;
act(Act, Ref, #state{live = Live} = State) ->
    act(Act, Ref, maps:get(Ref, Live), State).

act(cancel, Ref, #call{due = Due} = Call, State) ->
    ok = snakemux:cancel(Ref),
    Now = now_ms(),
    erlang:send_after(?STOPPED_MARGIN, self(), {act, Ref, overdue}),
    update(Ref, Call#call{cancelled = true, due = min(Due, Now)}, State); % any integer is less than infinity
act(abandon, Ref, #call{command = Command, wanted = Wanted}, #state{live = Live, counts = Counts} = State) ->
    promptly(abandon, fun() -> snakemux:abandon(Ref) end),
    soak_book:count({ended, Command, abandoned, none}),
    %% It may have been the one that was told of its session's loss.
    Left = case Wanted of {session, Session} -> maps:remove(Session, Counts); _ -> Counts end,
    State#state{live = maps:remove(Ref, Live), counts = Left};
act({credit, N}, Ref, Call, State) ->
    credit(N, Ref, Call, State);
act(overdue, Ref, #call{command = Command}, State) ->
    soak_book:violation("~ts has no answer yet: ~0P", [Command, maps:get(Ref, State#state.live), 30]),
    State.

credit(N, Ref, #call{left = Left} = Call, State) ->
    ok = snakemux:credit(Ref, N),
    update(Ref, Call#call{left = Left + N}, State).

promptly(What, Fun) ->
    Start = now_ms(),
    Fun(),
    Took = now_ms() - Start,
    soak_book:longest(What, Took),
    Limit = case soak_book:was_stopped(Start, now_ms()) of true -> ?STOPPED_MARGIN; false -> ?PROMPT end,
    Took =< Limit orelse soak_book:violation("~p took ~b ms", [What, Took]).

update(Ref, Call, #state{live = Live} = State) -> State#state{live = Live#{Ref := Call}}.

event(Ref, Event, #state{live = Live} = State) ->
    case {Event, Live} of
        {_, #{Ref := Call}} -> event(Event, Ref, Call, State);
        _ -> soak_book:violation("an event behind the last one: ~0P", [Event, 20]), State
    end.

event({chunk, Chunk}, Ref, #call{id = Id, chunks = N, left = Left, grant = Grant} = Call0, State0) ->
    Left > 0 orelse soak_book:violation("chunk ~b without credit", [N]),
    soak_book:count({chunks}),
    _ = case Chunk of
        #{<<"id">> := Id, <<"n">> := N} -> ok;
        _ -> soak_book:violation("chunk ~b of ~b is ~0P", [N, Id, Chunk, 12])
    end,
    Call = Call0#call{chunks = N + 1, left = Left - 1, passive = false},
    State = update(Ref, Call, State0),
    case Grant of
        chunk -> credit(1, Ref, Call, State);
        late -> erlang:send_after(rand:uniform(30), self(), {act, Ref, {credit, 1}}), State;
        _ -> State
    end;
event(passive, Ref, #call{grant = Grant} = Call, State) ->
    case Grant of
        passive -> credit(rand:uniform(16), Ref, Call#call{passive = true}, State);
        _ -> update(Ref, Call#call{passive = true}, State)
    end;
event(End, Ref, Call, State) ->
    ended(Ref, End, Call, State).

ended(Ref, End, #call{command = Command, chunks = Chunks, left = Left, passive = Passive} = Call, #state{live = Live} = State) ->
    in_time(End, Call),
    Chunks =:= 0 orelse Left =/= 0 orelse Passive orelse soak_book:violation("no passive before ~0P", [End, 20]),
    {Code, Reason} = case End of {error, #{code := C, reason := R}} -> {C, R}; _ -> {ok, none} end,
    soak_book:count({ended, Command, Code, Reason}),
    Code =/= ok orelse soak_book:took(Command, now_ms() - Call#call.started),
    right(End, Call, State#state{live = maps:remove(Ref, Live)}).

in_time(End, #call{started = Started, due = Due, cancelled = Cancelled} = Call) ->
    Now = now_ms(),
    Late = case Due of infinity -> 0; _ -> Now - Due end,
    Stopped = soak_book:was_stopped(Started, Now),
    {Kind, Margin} = case Stopped of true -> {late_stopped, ?STOPPED_MARGIN}; false -> {late, ?MARGIN} end,
    soak_book:longest(Kind, Late),
    Late =< Margin orelse soak_book:violation("~b ms late: ~0P ended ~0P", [Late, Call, 30, End, 20]),
    case End of
        {error, #{code := deadline_exceeded}} when not Cancelled, Late < -?EARLY ->
            soak_book:violation("a deadline ~b ms before its time: ~0P", [-Late, Call, 30]);
        _ -> ok
    end.

right({ok, #{<<"id">> := Id} = Result}, #call{id = Id, wanted = Wanted}, State) when is_map(Wanted) ->
    maps:with(maps:keys(Wanted), Result) =:= Wanted orelse soak_book:violation("a wrong result: ~0P", [Result, 20]),
    State;
right({ok, #{<<"id">> := Id, <<"count">> := N}}, #call{id = Id, wanted = {session, Session}}, State) ->
    #state{counts = Counts} = State,
    Last = maps:get(Session, Counts, 0),
    N > Last orelse soak_book:violation("session ~ts forgot: ~b after ~b", [Session, N, Last]),
    State#state{counts = Counts#{Session => N}};
right({done, _}, #call{wanted = Count, chunks = Count}, State) ->
    State;
right({error, #{reason := session_lost}}, #call{wanted = {session, Session}}, #state{counts = Counts} = State) ->
    State#state{counts = maps:remove(Session, Counts)};
right({error, #{code := Code, reason := Reason} = Error}, #call{cancelled = Cancelled, chunks = Chunks} = Call, State) ->
    is_explained(Code, Reason, Cancelled) orelse soak_book:violation("~0P for ~0P", [Error, 40, Call, 30]),
    Delivered = maps:get(delivered, Error, Chunks),
    Delivered =:= Chunks orelse Call#call.left =:= infinity orelse
        soak_book:violation("~b chunks delivered, ~b came: ~0P", [Delivered, Chunks, Error, 40]),
    State;
right(End, Call, State) ->
    soak_book:violation("~0P for ~0P", [End, 30, Call, 30]),
    State.

is_explained(cancelled, cancelled, Cancelled) -> Cancelled;
is_explained(deadline_exceeded, deadline, _) -> true;
is_explained(unavailable, Reason, _) -> lists:member(Reason, [worker_down, port_down, no_worker]);
is_explained(resource_exhausted, queue_full, _) -> true;
is_explained(_, _, _) -> false.

-spec now_ms() -> integer().
now_ms() -> erlang:monotonic_time(millisecond).

any(List) -> lists:nth(rand:uniform(length(List)), List).
