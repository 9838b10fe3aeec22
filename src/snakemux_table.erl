%% What the processes of one instance must know of each other, in one ETS table that outlives them: the port, the
%% running calls, the workers that are wanted, the pins. Callers read it without asking anybody.
-module(snakemux_table).

-export([new/2, find/1, port/1, port_of/1, program/1, publish/2, withdraw/2, stop/1, put_mux/2, mux/1]).
-export([add_call/4, take_call/2, calls_of/2, calls/1, count_chunk/2, add_credit/3, watch/2, unwatch/2, watched/1, has_calls/1]).
-export([put_worker/4, remove_worker/2, worker/2, workers/1, want/4, unwant/2, wanted/1]).
-export([pin/4, unpin/2, pins/1, expire_pins/3]).

-export_type([table/0, ref/0]).

-opaque table() :: ets:tid().
%% A call: the instance, the process that hears of it, and what makes it unique. It is the call's tag on the wire.
-type ref() :: {atom(), pid(), reference()}.

-define(INFINITE, -1).

%% @doc Makes the table of an instance; the calling process owns it. `Program' is the path of the port program.
-spec new(atom(), string()) -> table().
new(Name, Program) ->
    Table = ets:new(?MODULE, [ordered_set, public, {write_concurrency, true}, {read_concurrency, true}]),
    ets:insert(Table, {program, Program}),
    persistent_term:put({snakemux, Name}, Table),
    Table.

-spec program(table()) -> string().
program(Table) -> ets:lookup_element(Table, program, 2).

-spec find(atom()) -> {ok, table()} | none.
find(Name) ->
    case persistent_term:get({snakemux, Name}, none) of
        none ->
            none;
        Table ->
            case ets:info(Table, size) of
                undefined -> none;
                _ -> {ok, Table}
            end
    end.

%% @doc The port to write to, or the error that a call gets instead.
-spec port(atom()) -> {ok, table(), port()} | {error, snakemux_proto:error()}.
port(Name) ->
    try
        Table = persistent_term:get({snakemux, Name}),
        case ets:lookup(Table, port) of
            [{port, Port}] when is_port(Port) -> {ok, Table, Port};
            [{port, Error}] -> {error, Error};
            [] -> {error, snakemux_proto:error(unavailable, port_down, "the port program is starting")}
        end
    catch
        error:badarg ->
            Text = io_lib:format("no instance ~p is running: start it in your supervision tree", [Name]),
            {error, snakemux_proto:error(unavailable, port_down, Text)}
    end.

%% @doc The port, for the instance's own processes.
-spec port_of(table()) -> {ok, port()} | none.
port_of(Table) ->
    case ets:lookup(Table, port) of
        [{port, Port}] when is_port(Port) -> {ok, Port};
        _ -> none
    end.

-spec publish(table(), port()) -> true.
publish(Table, Port) -> ets:insert(Table, {port, Port}).

%% @doc No port for now: calls get this error.
-spec withdraw(table(), snakemux_proto:error()) -> true.
withdraw(Table, Error) -> ets:insert(Table, {port, Error}).

%% @doc The instance stops: new calls are turned away, the port itself is still in use.
-spec stop(table()) -> true.
stop(Table) -> withdraw(Table, snakemux_proto:error(unavailable, stopping, "the instance is stopping")).

-spec put_mux(table(), pid()) -> true.
put_mux(Table, Pid) -> ets:insert(Table, {mux, Pid}).

%% @doc The process that owns the port.
-spec mux(table()) -> {ok, pid()} | none.
mux(Table) ->
    case ets:lookup(Table, mux) of
        [{mux, Pid}] -> {ok, Pid};
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

-spec calls_of(table(), pid()) -> [ref()].
calls_of(Table, Pid) -> ets:select(Table, [{{{call, Pid, '$1'}, '_', '_'}, [], ['$1']}]).

-spec calls(table()) -> [{pid(), reference()}].
calls(Table) -> ets:select(Table, [{{{call, '$1', '$2'}, '_', '_'}, [], [{{'$1', '$2'}}]}]).

%% @doc A chunk came: `passive' when it takes the last credit, `over' when nobody waits for it any more.
-spec count_chunk(table(), ref()) -> active | passive | over.
count_chunk(Table, Ref) ->
    try ets:update_counter(Table, key(Ref), {2, -1}) of
        0 -> passive;
        _ -> active
    catch
        error:badarg -> over
    end.

%% @doc False when the call is over.
-spec add_credit(table(), ref(), pos_integer() | infinity) -> boolean().
add_credit(Table, Ref, infinity) -> ets:update_element(Table, key(Ref), {2, ?INFINITE});
add_credit(Table, Ref, N) ->
    case ets:lookup(Table, key(Ref)) of
        [{_, Left, _}] when Left < 0 -> true;
        [_] ->
            try ets:update_counter(Table, key(Ref), {2, N}) of _ -> true catch error:badarg -> false end;
        [] -> false
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

%% ---- Workers: {{worker, Id}, Pid, Info}; the connections they want: {{want, Id}, Target, Options} ----

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

-spec want(table(), snakemux_proto:worker_id(), binary(), map()) -> true.
want(Table, Id, Target, Options) -> ets:insert(Table, {{want, Id}, Target, Options}).

-spec unwant(table(), snakemux_proto:worker_id()) -> true.
unwant(Table, Id) -> ets:delete(Table, {want, Id}).

-spec wanted(table()) -> [{snakemux_proto:worker_id(), binary(), map()}].
wanted(Table) -> ets:select(Table, [{{{want, '$1'}, '$2', '$3'}, [], [{{'$1', '$2', '$3'}}]}]).

%% ---- Pins: {{pin, Session}, WorkerId, Incarnation, used (ms)} ----

-spec pin(table(), snakemux_proto:session(), snakemux_proto:worker_id(), binary()) -> true.
pin(Table, Session, Id, Incarnation) ->
    ets:insert(Table, {{pin, Session}, Id, Incarnation, erlang:monotonic_time(millisecond)}).

-spec unpin(table(), snakemux_proto:session()) -> true.
unpin(Table, Session) -> ets:delete(Table, {pin, Session}).

-spec pins(table()) -> [{snakemux_proto:session(), snakemux_proto:worker_id(), binary()}].
pins(Table) -> ets:select(Table, [{{{pin, '$1'}, '$2', '$3', '_'}, [], [{{'$1', '$2', '$3'}}]}]).

%% @doc Forgets pins that were not used for `Ttl' ms before `Now', as the port program does.
-spec expire_pins(table(), integer(), pos_integer()) -> non_neg_integer().
expire_pins(Table, Now, Ttl) ->
    ets:select_delete(Table, [{{{pin, '_'}, '_', '_', '$1'}, [{'<', '$1', Now - Ttl}], [true]}]).
