%% What the processes of one instance must know of each other, in one ETS table that outlives them: the port, the
%% running calls, the workers that are wanted, the pins. Callers read it without asking anybody.
-module(snakemux_table).

-export([new/2, inherit/2, find/1, setting/2, port/1, live_port/1, publish/2, withdraw/2, stop/1, put_process/3, process/2]).
-export([add_call/4, take_call/2, calls/2, has_calls/1, count_chunk/2, add_credit/3]).
-export([watch/2, unwatch/2, watched/1]).
-export([claim_worker/2, put_worker/4, remove_worker/2, worker/2, workers/1, want/3, unwant/2, wanted/2]).
-export([pin/4, has_pin/2, unpin/2, pins/1, expire_pins/3]).

-export_type([table/0, ref/0]).

-opaque table() :: ets:tid().
%% A call: the instance, the process that hears of it, and what makes it unique. It is the call's tag on the wire.
-type ref() :: {atom(), pid(), reference()}.

-define(INFINITE, -1).

%% @doc Makes the table of an instance; the calling process owns it.
-spec new(atom(), #{program := string(), max_message := pos_integer()}) -> table().
new(Name, Settings) ->
    Table = ets:new(?MODULE, [ordered_set, public, {write_concurrency, true}, {read_concurrency, true}]),
    ets:insert(Table, {settings, Settings}),
    withdraw(Table, snakemux_proto:error(unavailable, port_down, "the port program is starting")),
    persistent_term:put({snakemux, Name}, Table),
    Table.

%% @doc `program': the path of the port program; `max_message': what the instance was started with.
-spec setting(table(), program | max_message) -> term().
setting(Table, Key) -> maps:get(Key, ets:lookup_element(Table, settings, 2)).

-spec find(atom()) -> {ok, table()} | {error, snakemux_proto:error()}.
find(Name) ->
    Table = persistent_term:get({snakemux, Name}, none),
    case Table =/= none andalso ets:info(Table, size) of
        Size when is_integer(Size) ->
            {ok, Table};
        _ ->
            Text = io_lib:format("no instance ~p is running: start it in your supervision tree", [Name]),
            {error, snakemux_proto:error(unavailable, port_down, Text)}
    end.

%% ---- The port: {port, Port | undefined, why new calls are turned away | none} ----

%% @doc The port for a new call, or the error that the call gets instead.
-spec port(atom()) -> {ok, table(), port()} | {error, snakemux_proto:error()}.
port(Name) ->
    case look(Name) of
        {Table, Port, none} -> {ok, Table, Port};
        {_, _, Error} -> {error, Error};
        none -> {error, _} = find(Name)
    end.

%% @doc The port for what belongs to a running call, which may finish while the instance stops.
-spec live_port(atom()) -> {ok, table(), port()} | none.
live_port(Name) ->
    case look(Name) of
        {Table, Port, _} when is_port(Port) -> {ok, Table, Port};
        _ -> none
    end.

look(Name) ->
    try
        Table = persistent_term:get({snakemux, Name}),
        [{port, Port, Refusal}] = ets:lookup(Table, port),
        {Table, Port, Refusal}
    catch
        error:badarg -> none
    end.

-spec publish(table(), port()) -> true.
publish(Table, Port) -> ets:insert(Table, {port, Port, none}).

%% @doc No port for now: calls get this error.
-spec withdraw(table(), snakemux_proto:error()) -> true.
withdraw(Table, Error) -> ets:insert(Table, {port, undefined, Error}).

%% @doc The instance stops: new calls are turned away, the port itself is still in use.
-spec stop(table()) -> boolean().
stop(Table) ->
    Error = snakemux_proto:error(unavailable, stopping, "the instance is stopping"),
    ets:update_element(Table, port, {3, Error}).

-spec put_process(table(), mux | workers, pid()) -> true.
put_process(Table, Role, Pid) -> ets:insert(Table, {Role, Pid}).

%% @doc The process that owns the port, or the supervisor of the workers.
-spec process(table(), mux | workers) -> {ok, pid()} | none.
process(Table, Role) ->
    case ets:lookup(Table, Role) of
        [{Role, Pid}] -> {ok, Pid};
        [] -> none
    end.

%% ---- Calls: {{call, Pid, Ref}, credit left, session} ----

-spec add_call(table(), ref(), pos_integer() | infinity, snakemux_proto:session() | undefined) -> true.
add_call(Table, Ref, Credit, Session) ->
    Left = case Credit of infinity -> ?INFINITE; _ -> Credit end,
    ets:insert(Table, {key(Ref), Left, Session}).

%% @doc Removes the call; whoever gets `{ok, Session}' delivers its terminal event, so there is exactly one.
-spec take_call(table(), ref()) -> {ok, snakemux_proto:session() | undefined} | none.
take_call(Table, Ref) ->
    case ets:take(Table, key(Ref)) of
        [{_, _, Session}] -> {ok, Session};
        [] -> none
    end.

%% @doc The running calls of a process, or of `all' processes.
-spec calls(table(), pid() | all) -> [{pid(), reference()}].
calls(Table, all) -> ets:select(Table, [{{{call, '$1', '$2'}, '_', '_'}, [], [{{'$1', '$2'}}]}]);
calls(Table, Pid) -> ets:select(Table, [{{{call, Pid, '$1'}, '_', '_'}, [], [{{{const, Pid}, '$1'}}]}]).

%% @doc A chunk came: `passive' when it takes the last credit, `over' when nobody waits for it any more.
-spec count_chunk(table(), ref()) -> active | passive | over.
count_chunk(Table, Ref) ->
    try ets:update_counter(Table, key(Ref), {2, -1}) of
        0 -> passive;
        _ -> active
    catch
        error:badarg -> over
    end.

%% @doc False when the call is over, or the whole instance.
-spec add_credit(table(), ref(), pos_integer() | infinity) -> boolean().
add_credit(Table, Ref, N) ->
    Key = key(Ref),
    try
        case ets:lookup_element(Table, Key, 2) of
            Left when Left < 0 -> true;
            _ when N =:= infinity -> ets:update_element(Table, Key, {2, ?INFINITE});
            _ -> is_integer(ets:update_counter(Table, Key, {2, N}))
        end
    catch
        error:badarg -> false
    end.

key({_, Pid, Ref}) -> {call, Pid, Ref}.

%% @doc True when the process is watched from now on, false when it was already.
-spec watch(table(), pid()) -> boolean().
watch(Table, Pid) -> not ets:member(Table, {watched, Pid}) andalso ets:insert_new(Table, {{watched, Pid}}).

-spec unwatch(table(), pid()) -> true.
unwatch(Table, Pid) -> ets:delete(Table, {watched, Pid}).

-spec watched(table()) -> [pid()].
watched(Table) -> ets:select(Table, [{{{watched, '$1'}}, [], ['$1']}]).

-spec has_calls(table()) -> boolean().
has_calls(Table) -> ets:select(Table, [{{{call, '_', '_'}, '_', '_'}, [], [true]}], 1) =/= '$end_of_table'.

%% ---- Workers: {{worker, Id}, Pid, Info}; the connections they want: {{want, Id}, {connect, …}} ----

%% @doc Makes this process the worker of that id. False when another living one is.
-spec claim_worker(table(), snakemux_proto:worker_id()) -> boolean().
claim_worker(Table, Id) ->
    case worker(Table, Id) of
        {ok, Pid, _} when Pid =/= self() ->
            not is_process_alive(Pid) andalso remove_worker(Table, Id) andalso claim_worker(Table, Id);
        _ ->
            ets:insert_new(Table, {{worker, Id}, self(), #{id => Id, state => starting}})
    end.

-spec put_worker(table(), snakemux_proto:worker_id(), pid(), map()) -> true.
put_worker(Table, Id, Pid, Info) -> ets:insert(Table, {{worker, Id}, Pid, Info}).

-spec remove_worker(table(), snakemux_proto:worker_id()) -> true.
remove_worker(Table, Id) -> ets:delete(Table, {worker, Id}).

-spec worker(table(), snakemux_proto:worker_id()) -> {ok, pid(), map()} | none.
worker(Table, Id) ->
    case ets:lookup(Table, {worker, Id}) of
        [{_, Pid, Info}] -> {ok, Pid, Info};
        [] -> none
    end.

-spec workers(table()) -> [{snakemux_proto:worker_id(), pid(), map()}].
workers(Table) -> ets:select(Table, [{{{worker, '$1'}, '$2', '$3'}, [], [{{'$1', '$2', '$3'}}]}]).

%% @doc The port program is to have this connection, now and after it was started anew.
-spec want(table(), snakemux_proto:worker_id(), Connect :: tuple()) -> true.
want(Table, Id, Connect) -> ets:insert(Table, {{want, Id}, Connect}).

-spec unwant(table(), snakemux_proto:worker_id()) -> true.
unwant(Table, Id) -> ets:delete(Table, {want, Id}).

%% @doc The `connect' message of one worker, if it wants a connection, or of `all'.
-spec wanted(table(), snakemux_proto:worker_id() | all) -> [tuple()].
wanted(Table, all) -> ets:select(Table, [{{{want, '_'}, '$1'}, [], ['$1']}]);
wanted(Table, Id) -> [Connect || {_, Connect} <- ets:lookup(Table, {want, Id})].

%% ---- Pins: {{pin, Session}, WorkerId, Incarnation, used (ms)} ----

-spec pin(table(), snakemux_proto:session(), snakemux_proto:worker_id(), binary()) -> true.
pin(Table, Session, Id, Incarnation) ->
    ets:insert(Table, {{pin, Session}, Id, Incarnation, erlang:monotonic_time(millisecond)}).

-spec has_pin(table(), snakemux_proto:session()) -> boolean().
has_pin(Table, Session) -> ets:member(Table, {pin, Session}).

-spec unpin(table(), snakemux_proto:session()) -> true.
unpin(Table, Session) -> ets:delete(Table, {pin, Session}).

-spec pins(table()) -> [{snakemux_proto:session(), snakemux_proto:worker_id(), binary()}].
pins(Table) -> ets:select(Table, [{{{pin, '$1'}, '$2', '$3', '_'}, [], [{{'$1', '$2', '$3'}}]}]).

%% @doc Forgets pins that were not used for `Ttl' ms before `Now', as the port program does.
-spec expire_pins(table(), integer(), pos_integer()) -> non_neg_integer().
expire_pins(Table, Now, Ttl) ->
    ets:select_delete(Table, [{{{pin, '_'}, '_', '_', '$1'}, [{'<', '$1', Now - Ttl}], [true]}]).

%% @doc The table goes to that process when its owner is killed.
-spec inherit(table(), pid()) -> true.
inherit(Table, Heir) -> ets:setopts(Table, {heir, Heir, inherited}).
