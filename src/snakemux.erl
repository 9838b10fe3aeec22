%% @doc Calls and streams to gRPC workers, through one port program for each instance.
%%
%% ```
%% {ok, _} = snakemux:start_link(#{name => ml, workers => [{python, #{module => <<"my_workers">>, count => 2}}]}),
%% {ok, Result} = snakemux:execute(ml, <<"predict">>, #{x => [1, 2]}),
%% {ok, Sum} = snakemux:stream_fold(ml, <<"batches">>, #{}, fun(C, Acc) -> {cont, [C | Acc]} end, []).
%% '''
%%
%% Options are maps or proplists. A wrong one raises `badarg', whose text names the option, its value and what is
%% allowed. Trouble at run time never raises: it is `{error, Error}', a map, see {@link snakemux_proto:error()}, also
%% when the instance is down. Options of a call: {@link snakemux_proto:call_options()}; `timeout' is in milliseconds and
%% one budget for queue, wire and handler, 30000 unless said otherwise. A NumPy array in arguments, results and chunks is
%% `{tensor, {f, 32}, [2, 3], Binary}', see {@link snakemux_proto:tensor()}.
%%
%% Functions that return a `Ref' return at once; what follows are messages to the caller,
%% `{snakemux, Ref, {ok, Result} | {chunk, C} | passive | {done, Meta} | {error, Error}}', read by {@link next/2} or by
%% the caller's own `receive' or `handle_info'. Exactly one of `ok', `done' and `error' comes, and it is the last. Streams
%% are like `{active, N}' of inet: `credit' chunks (16), then `passive', then {@link credit/2}.
-module(snakemux).

-export([start_link/1, child_spec/1, await_ready/1, await_ready/2]).
-export([execute/2, execute/3, execute/4, execute_in_session/3, execute_in_session/4, execute_in_session/5]).
-export([stream_fold/5, stream_fold/6]).
-export([execute_async/2, execute_async/3, execute_async/4, execute_stream/2, execute_stream/3, execute_stream/4]).
-export([next/1, next/2, credit/2, cancel/1, abandon/1, end_session/2]).
-export([add_worker/2, remove_worker/2, remove_worker/3, restart_worker/2, restart_workers/1, restart_workers/2]).
-export([workers/1, calls/1, calls/2, stats/1, health/2, info/2, request_async/2]).

-export_type([ref/0, options/0]).

%% For so many ms a caller waits before it watches the instance: most answers have come by then, and watching costs more.
-define(PATIENCE, 100).

-type mux() :: atom().
-opaque ref() :: snakemux_table:ref().
-type options() :: snakemux_proto:call_options() | proplists:proplist().
-type error() :: {error, snakemux_proto:error()}.

%% @doc Starts an instance, linked to the caller. Options: `name' (an atom), `workers'
%% ({@link snakemux_spec:spec()}), `program' (the path of the port program), `drain_timeout' (10000 ms for running
%% calls when it stops), the limits `max_frame', `max_buffered', `max_queue', `max_calls', `max_sessions',
%% `session_ttl', and `max_message' (64 MiB), which the workers that are started are told as well. It does not wait for
%% workers: calls do, and {@link await_ready/2}.
-spec start_link(map() | proplists:proplist()) -> {ok, pid()} | {error, term()}.
start_link(Options) -> snakemux_sup:start_link(snakemux_options:instance(Options)).

%% @doc For a supervision tree; its id is the name.
-spec child_spec(map() | proplists:proplist()) -> supervisor:child_spec().
child_spec(Options) ->
    #{name := Name} = snakemux_options:instance(Options),
    #{id => Name, start => {?MODULE, start_link, [Options]}, type => supervisor, shutdown => infinity}.

-spec await_ready(mux()) -> ok | error().
await_ready(Mux) -> await_ready(Mux, #{}).

%% @doc Waits until `workers' (`all', or how many) are ready, for `timeout' ms (30000). The error says which are not, and why.
-spec await_ready(mux(), map() | proplists:proplist()) -> ok | error().
await_ready(Mux, Options) ->
    #{workers := Wanted, timeout := Timeout} = snakemux_options:await(Options),
    Until = case Timeout of infinity -> infinity; _ -> now_ms() + Timeout end,
    await_ready(Mux, Wanted, Until).

await_ready(Mux, Wanted, Until) ->
    case workers(Mux) of
        {ok, Workers} ->
            {Ready, Others} = lists:partition(fun(#{state := State}) -> State =:= ready end, Workers),
            Done = case Wanted of all -> Others =:= []; N -> length(Ready) >= N end,
            case Done orelse (Until =/= infinity andalso now_ms() >= Until) of
                false -> receive after 10 -> await_ready(Mux, Wanted, Until) end;
                true when Done -> ok;
                true -> {error, snakemux_proto:error(deadline_exceeded, not_ready, not_ready(Others))}
            end;
        Error ->
            Error
    end.

not_ready(Workers) ->
    Why = fun(Info) -> [[": ", Text] || #{text := Text} <- [Info]] end,
    ["not all workers are ready:" | [["\n", Id, " is ", atom_to_binary(State), Why(Info)] || #{id := Id, state := State} = Info <- Workers]].

%% ---- Calls ----

-spec execute(mux(), snakemux_proto:command()) -> {ok, snakemux_proto:result()} | error().
execute(Mux, Command) -> execute(Mux, Command, #{}, #{}).

-spec execute(mux(), snakemux_proto:command(), snakemux_proto:args()) -> {ok, snakemux_proto:result()} | error().
execute(Mux, Command, Args) -> execute(Mux, Command, Args, #{}).

%% @doc Calls a command and waits for its result.
-spec execute(mux(), snakemux_proto:command(), snakemux_proto:args(), options()) ->
    {ok, snakemux_proto:result()} | error().
execute(Mux, Command, Args, Options) ->
    {Ref, Teller} = call(Mux, execute, Command, Args, snakemux_options:call(Options), anybody),
    await(Ref, Teller).

-spec execute_in_session(mux(), snakemux_proto:session(), snakemux_proto:command()) ->
    {ok, snakemux_proto:result()} | error().
execute_in_session(Mux, Session, Command) -> execute_in_session(Mux, Session, Command, #{}, #{}).

-spec execute_in_session(mux(), snakemux_proto:session(), snakemux_proto:command(), snakemux_proto:args()) ->
    {ok, snakemux_proto:result()} | error().
execute_in_session(Mux, Session, Command, Args) -> execute_in_session(Mux, Session, Command, Args, #{}).

%% @doc {@link execute/4} with the option `session'.
-spec execute_in_session(
    mux(), snakemux_proto:session(), snakemux_proto:command(), snakemux_proto:args(), options()
) -> {ok, snakemux_proto:result()} | error().
execute_in_session(Mux, Session, Command, Args, Options) ->
    execute(Mux, Command, Args, (snakemux_options:to_map(call, Options))#{session => Session}).

-spec stream_fold(mux(), snakemux_proto:command(), snakemux_proto:args(), snakemux_reader:fold(), term()) ->
    {ok, term()} | {error, snakemux_proto:error(), term()}.
stream_fold(Mux, Command, Args, Fun, Acc) -> stream_fold(Mux, Command, Args, Fun, Acc, #{}).

%% @doc Folds a stream; `{halt, Acc}' cancels it. An exception in `Fun' cancels it too.
-spec stream_fold(mux(), snakemux_proto:command(), snakemux_proto:args(), snakemux_reader:fold(), term(), options()) ->
    {ok, term()} | {error, snakemux_proto:error(), term()}.
stream_fold(Mux, Command, Args, Fun, Acc, Options) ->
    snakemux_reader:fold(snakemux_reader:open(Mux, Command, Args, Options), Fun, Acc).

-spec execute_async(mux(), snakemux_proto:command()) -> ref().
execute_async(Mux, Command) -> execute_async(Mux, Command, #{}, #{}).

-spec execute_async(mux(), snakemux_proto:command(), snakemux_proto:args()) -> ref().
execute_async(Mux, Command, Args) -> execute_async(Mux, Command, Args, #{}).

%% @doc Starts a call: one message follows, `{ok, Result}' or `{error, Error}'.
-spec execute_async(mux(), snakemux_proto:command(), snakemux_proto:args(), options()) -> ref().
execute_async(Mux, Command, Args, Options) ->
    {Ref, instance} = call(Mux, execute, Command, Args, snakemux_options:call(Options), self),
    Ref.

-spec execute_stream(mux(), snakemux_proto:command()) -> ref().
execute_stream(Mux, Command) -> execute_stream(Mux, Command, #{}, #{}).

-spec execute_stream(mux(), snakemux_proto:command(), snakemux_proto:args()) -> ref().
execute_stream(Mux, Command, Args) -> execute_stream(Mux, Command, Args, #{}).

%% @doc Starts a stream: chunks follow, as many as there is credit, then `{done, Meta}' or `{error, Error}'.
-spec execute_stream(mux(), snakemux_proto:command(), snakemux_proto:args(), options()) -> ref().
execute_stream(Mux, Command, Args, Options) ->
    {Ref, instance} = call(Mux, execute_stream, Command, Args, snakemux_options:call(Options), self),
    Ref.

%% The call, and who tells its end: the instance or the mux alone. A caller that waits for the answer doesn't care who
%% writes the command: no other one of it could be overtaken.
call(Mux, Kind, Command, Args, Options, By) ->
    Credit = case Kind of execute -> infinity; execute_stream -> maps:get(credit, Options, 16) end,
    To = snakemux_proto:target(Options),
    Wire = snakemux_proto:call_options(Options),
    start(Mux, Credit, maps:get(session, Options, undefined), fun(Tag) -> {Kind, Tag, To, Command, Args, Wire} end, By).

start(Mux, Credit, Session, Make, By) ->
    Ref = snakemux_mux:ref(Mux),
    Message = Make(snakemux_table:tag(Ref)),
    try
        case By =:= anybody andalso snakemux_mux:hand_over(Ref, Session, Message) of
            {ok, Taker} -> {Ref, Taker};
            false -> write(Ref, Credit, Session, Message), {Ref, instance}
        end
    catch
        error:badarg -> is_told(Ref) orelse refuse(Ref, Message, ended(Mux)), {Ref, instance} % the table is gone
    end.

%% The call is in the table before the port is looked at: whatever becomes of that port afterwards, the caller hears of it.
write(Ref, Credit, Session, Message) ->
    snakemux_table:add_call(Ref, Credit, Session),
    case snakemux_mux:command(Ref, Message) of
        ok -> ok;
        %% If the mux has not said so yet, this does.
        Error -> snakemux_table:take_call(Ref) =:= none orelse refuse(Ref, Message, Error)
    end.

%% The mux told it before the table went.
is_told(Ref) ->
    receive {snakemux, Ref, _} = Told -> self() ! Told, true after 0 -> false end.

ended(Mux) ->
    case snakemux_table:find(Mux) of
        {ok, _} -> {error, snakemux_proto:error(unavailable, stopping, "the instance ended just now")};
        Error -> Error
    end.

refuse(Ref, Message, {error, Error}) ->
    self() ! {snakemux, Ref, {error, named(Error, Message)}},
    true.

named(Error, {_, _, _, Command, _, _}) -> Error#{command => Command};
named(Error, _) -> Error.

-spec next(ref()) -> snakemux_proto:event().
next(Ref) -> next(Ref, infinity).

%% @doc The next message of a call of this process; after `Timeout' ms `timeout', and the call goes on.
-spec next(ref(), timeout()) -> snakemux_proto:event() | timeout.
next(Ref, Timeout) when Timeout =:= infinity; is_integer(Timeout), Timeout >= 0, Timeout < 1 bsl 32 ->
    case next_within(Ref, min(Timeout, ?PATIENCE)) of
        timeout when Timeout =:= infinity -> wait(Ref, instance, infinity);
        timeout when Timeout > ?PATIENCE -> wait(Ref, instance, Timeout - ?PATIENCE);
        Event -> Event
    end;
next(_, Timeout) ->
    snakemux_options:fail(timeout, Timeout, "0..4294967295 milliseconds or infinity").

next_within(Ref, Timeout) ->
    receive {snakemux, Ref, Event} -> Event after Timeout -> timeout end.

await(Ref, Teller) ->
    case next_within(Ref, ?PATIENCE) of
        timeout -> wait(Ref, Teller, infinity);
        Event -> _ = Teller =:= instance orelse snakemux_patience:took_turn(), Event
    end.

%% The end of who tells would leave nobody to speak to this process: one that waits for long watches it.
wait(Ref, Teller, Timeout) ->
    Watched = case Teller of instance -> snakemux_table:owner(Ref); _ -> Teller end,
    Monitor = case Watched of undefined -> none; _ -> erlang:monitor(process, Watched) end,
    Event =
        receive
            {snakemux, Ref, Something} -> Something;
            {'DOWN', Monitor, process, _, _} -> down
        after case Monitor of none -> 0; _ -> Timeout end -> case Monitor of none -> down; _ -> timeout end
        end,
    Monitor =:= none orelse erlang:demonitor(Monitor, [flush]),
    case Event of
        down when Teller =:= instance -> last_word(Ref);
        down -> {error, snakemux_proto:error(unavailable, port_down, "the process that owned the port program ended", true)};
        _ -> Event
    end.

%% Nobody else speaks for a call that this process takes out of the table; one that is not there has its last message.
last_word(Ref) ->
    Taken = try snakemux_table:take_call(Ref) catch error:badarg -> none end,
    case next_within(Ref, case Taken of none -> ?PATIENCE; _ -> 0 end) of
        timeout -> {error, snakemux_proto:error(unavailable, port_down, "the instance is down", true)};
        Event -> Event
    end.

%% @doc Lets `N' more chunks of a stream come, or any number. Nothing when the stream is over.
-spec credit(ref(), pos_integer() | infinity) -> ok.
credit(Ref, N) ->
    snakemux_options:credit(N),
    _ = snakemux_table:add_credit(Ref, N) andalso send(Ref, {credit, snakemux_table:tag(Ref), N}),
    ok.

%% @doc Cancels a call, at its worker too. Its last message still comes: an error with code `cancelled', or whatever was faster.
-spec cancel(ref()) -> ok.
cancel(Ref) ->
    _ = send(Ref, {cancel, snakemux_table:tag(Ref)}),
    ok.

send(Ref, Message) ->
    case snakemux_table:live_port(Ref) of
        {ok, Port} -> snakemux_writer:send(Port, Message);
        none -> false
    end.

%% @doc Cancels a call of this process and forgets it: none of its messages is in the mailbox afterwards, none comes.
-spec abandon(ref()) -> ok.
abandon(Ref) ->
    try
        _ = snakemux_table:take_call(Ref) =:= none orelse cancel(Ref),
        %% What the mux was sending just now has arrived when it answers.
        snakemux_mux:sync(Ref)
    catch
        error:badarg -> ok % the instance ended just now, and the mux before it
    end,
    flush(Ref).

flush(Ref) ->
    receive {snakemux, Ref, _} -> flush(Ref) after 0 -> ok end.

%% @doc Ends a session: its worker frees what it kept, the next call of it starts anew.
-spec end_session(mux(), snakemux_proto:session()) -> ok | error().
end_session(Mux, Session) ->
    _ = [catch snakemux_table:unpin(Table, Session) || {ok, Table} <- [snakemux_table:find(Mux)]],
    case request(Mux, fun(Tag) -> {end_session, Tag, Session} end) of
        {ok, _} -> ok;
        Error -> Error
    end.

%% ---- Workers ----

%% @doc Adds the worker (or, with `count', the workers) of a spec.
-spec add_worker(mux(), snakemux_spec:spec()) -> {ok, snakemux_proto:worker_id() | [snakemux_proto:worker_id()]} | error().
add_worker(Mux, Spec) ->
    with_table(Mux, fun(Table) ->
        Workers = snakemux_spec:workers([Spec], snakemux_table:setting(Table, max_message)),
        {ok, Sup} = snakemux_table:process(Table, workers),
        add_all(Sup, Workers, [])
    end).

%% All of them or none.
add_all(_, [], [{Id, _}]) -> {ok, Id};
add_all(_, [], Added) -> {ok, [Id || {Id, _} <- lists:reverse(Added)]};
add_all(Sup, [#{id := Id} = Worker | More], Added) ->
    case snakemux_worker_sup:add(Sup, Worker) of
        {ok, Pid} ->
            add_all(Sup, More, [{Id, Pid} | Added]);
        {error, already_exists} ->
            lists:foreach(fun({_, Pid}) -> snakemux_worker:remove(Pid, now) end, Added),
            {error, snakemux_proto:error(already_exists, already_exists, ["there is a worker ", Id, " already"])}
    end.

-spec remove_worker(mux(), snakemux_proto:worker_id()) -> ok | error().
remove_worker(Mux, Id) -> remove_worker(Mux, Id, now).

%% @doc Ends a worker: its running calls at once with `unavailable', or after they have ended, for `Ms' at most.
-spec remove_worker(mux(), snakemux_proto:worker_id(), now | {drain, non_neg_integer()}) -> ok | error().
remove_worker(Mux, Id, How) ->
    case How of
        now -> ok;
        {drain, Ms} when is_integer(Ms), Ms >= 0 -> ok;
        _ -> snakemux_options:fail(remove_worker, How, "now or {drain, Milliseconds}")
    end,
    with_worker(Mux, Id, fun(Pid) -> snakemux_worker:remove(Pid, How) end).

%% @doc Ends a worker's process and starts a new one; of an attached worker, its connection. Calls that it could take wait.
-spec restart_worker(mux(), snakemux_proto:worker_id()) -> ok | error().
restart_worker(Mux, Id) -> restart_worker(Mux, Id, now).

restart_worker(Mux, Id, How) -> with_worker(Mux, Id, fun(Pid) -> snakemux_worker:restart(Pid, How) end).

-spec restart_workers(mux()) -> ok | error().
restart_workers(Mux) -> restart_workers(Mux, #{}).

%% @doc Restarts all workers: at once, or with `rolling => true' one after the other, each drained (`drain', 30000 ms) and
%% waited for (`timeout', 60000 ms) before the next. Calls go to the other workers meanwhile; those that only this one
%% can take wait for its next life, so that none fails whose timeout is long enough.
-spec restart_workers(mux(), #{rolling => boolean(), drain => non_neg_integer(), timeout => timeout()}) -> ok | error().
restart_workers(Mux, Options) ->
    #{rolling := Rolling, drain := Drain, timeout := Timeout} = snakemux_options:restart(Options),
    Restart = fun
        (#{id := Id}, ok) when Rolling ->
            case restart_worker(Mux, Id, {drain, Drain}) of
                ok -> await_ready(Mux, #{timeout => Timeout});
                Error -> Error
            end;
        (#{id := Id}, ok) ->
            restart_worker(Mux, Id, now);
        (_, Error) ->
            Error
    end,
    case workers(Mux) of
        {ok, Workers} -> lists:foldl(Restart, ok, Workers);
        Error -> Error
    end.

with_worker(Mux, Id, Fun) ->
    _ = is_binary(Id) orelse snakemux_options:fail(worker, Id, "the id of a worker, a binary"),
    with_table(Mux, fun(Table) ->
        case snakemux_table:worker(Table, Id) of
            {ok, Pid, _} -> Fun(Pid);
            none -> {error, snakemux_proto:error(not_found, no_worker, ["there is no worker ", Id])}
        end
    end).

%% An instance that stops meanwhile is an error like any other.
with_table(Mux, Fun) ->
    case snakemux_table:find(Mux) of
        {ok, Table} ->
            Stopped = {error, snakemux_proto:error(unavailable, stopping, "the worker or the instance ended meanwhile")},
            try
                Fun(Table)
            catch
                exit:_ -> Stopped;
                error:Reason:Stack ->
                    case Stack of
                        [{ets, _, _, _} | _] -> Stopped;
                        _ -> erlang:raise(error, Reason, Stack)
                    end
            end;
        Error ->
            Error
    end.

%% @doc The workers: id, kind, state, reason, restarts, incarnation, …; `text' says why one is down.
-spec workers(mux()) -> {ok, [map()]} | error().
workers(Mux) ->
    with_table(Mux, fun(Table) -> {ok, [Info || {_, _, Info} <- snakemux_table:workers(Table)]} end).

%% ---- Questions ----

-spec calls(mux()) -> {ok, [map()]} | error().
calls(Mux) -> calls(Mux, 1000).

%% @doc The running calls, `Limit' at most: tag, command, worker, state, age_ms, chunks, credit.
-spec calls(mux(), pos_integer()) -> {ok, [map()]} | error().
calls(Mux, Limit) -> request(Mux, fun(Tag) -> {calls, Tag, Limit} end).

%% @doc The counters of the port program.
-spec stats(mux()) -> {ok, map()} | error().
stats(Mux) -> request(Mux, fun(Tag) -> {stats, Tag} end).

%% @doc What a worker answers to Health.
-spec health(mux(), snakemux_proto:worker_id()) -> {ok, map()} | error().
health(Mux, Id) -> request(Mux, fun(Tag) -> {health, Tag, Id, #{}} end).

%% @doc What a worker answers to GetInfo.
-spec info(mux(), snakemux_proto:worker_id()) -> {ok, map()} | error().
info(Mux, Id) -> request(Mux, fun(Tag) -> {info, Tag, Id, #{}} end).

request(Mux, Make) ->
    {Ref, Teller} = start(Mux, infinity, undefined, Make, self),
    await(Ref, Teller).

%% @private
%% For the instance's own processes, which must not wait.
-spec request_async(mux(), calls) -> ref().
request_async(Mux, calls) ->
    {Ref, instance} = start(Mux, infinity, undefined, fun(Tag) -> {calls, Tag, 10000} end, self),
    Ref.

now_ms() -> erlang:monotonic_time(millisecond).
