%% What the processes of one instance must know of each other, in one ETS table that outlives them: the port, the
%% running calls that were not handed over, the workers that are wanted, the pins. Callers read it without asking anybody.
-module(snakemux_table).

-export([new/2, inherit/2, owner/1, find/1, known/1, setting/2, port/1, live_port/1, taker/1, publish/2, hand_over/2, withdraw/2, stop/1]).
-export([put_process/3, process/2]).
-export([caller/1, remove_caller/2, callers/1]).
-export([ref/2, tag/1, add_call/3, take_call/1, has_call/1, calls/2, has_calls/1, count_chunks/2, add_credit/2]).
-export([claim_worker/2, put_worker/4, remove_worker/2, worker/2, workers/1, want/3, unwant/2, wanted/2]).
-export([pin/4, use_pin/2, unpin/2, pins/1, expire_pins/3]).

-export_type([table/0, ref/0, tag/0]).

-opaque table() :: ets:tid().
%% A call: the instance, the number of the process that hears of it, and its own.
-type ref() :: {table() | none, caller(), pos_integer()}.
%% The same on the wire, where nothing is as cheap as small integers.
-type tag() :: {caller(), pos_integer()}.
-type caller() :: non_neg_integer().

-define(INFINITE, -1).

%% @doc Makes the table of an instance; the calling process owns it.
-spec new(atom(), #{program := string(), max_message := pos_integer()}) -> table().
new(Name, Settings) ->
    Table = ets:new(?MODULE, [ordered_set, public, {write_concurrency, true}]),
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

%% @doc The table that the last instance of this name has or had; badarg when there was none.
-spec known(atom()) -> table().
known(Name) -> persistent_term:get({snakemux, Name}).

%% ---- The port: {port, Port | undefined, why new calls are turned away | none, direct | whom to hand calls} ----

%% @doc The port for a new call, or the error that the call gets instead.
-spec port(ref()) -> {ok, port()} | {error, snakemux_proto:error()}.
port({Table, _, _}) ->
    case ets:lookup(Table, port) of
        [{port, Port, none, _}] -> {ok, Port};
        [{port, _, Error, _}] -> {error, Error}
    end.

%% @doc Who takes new small calls; `direct' when their callers write them themselves.
-spec taker(ref()) -> direct | pid().
taker({Table, _, _}) ->
    case ets:lookup(Table, port) of
        [{port, _, none, Taker}] -> Taker;
        _ -> direct
    end.

%% @doc The port for what belongs to a running call, which may finish while the instance stops.
-spec live_port(ref()) -> {ok, port()} | none.
live_port({Table, _, _}) ->
    try ets:lookup(Table, port) of
        [{port, Port, _, _}] when is_port(Port) -> {ok, Port};
        _ -> none
    catch
        error:badarg -> none
    end.

%% @doc New calls may be written there, by their callers.
-spec publish(table(), port()) -> true.
publish(Table, Port) -> ets:insert(Table, {port, Port, none, direct}).

%% @doc Callers write small calls themselves, or hand them to that process.
-spec hand_over(table(), direct | pid()) -> boolean().
hand_over(Table, Way) -> ets:update_element(Table, port, {4, Way}).

%% @doc No port for now: calls get this error.
-spec withdraw(table(), snakemux_proto:error()) -> true.
withdraw(Table, Error) -> ets:insert(Table, {port, undefined, Error, direct}).

%% @doc The instance stops: new calls are turned away, the port itself is still in use.
-spec stop(table()) -> boolean().
stop(Table) ->
    Error = snakemux_proto:error(unavailable, stopping, "the instance is stopping"),
    ets:update_element(Table, port, {3, Error}).

-spec put_process(table(), mux | sender | workers, pid()) -> true.
put_process(Table, Role, Pid) -> ets:insert(Table, {Role, Pid}).

%% @doc The process that owns the port, that writes large commands, or the supervisor of the workers.
-spec process(table(), mux | sender | workers) -> {ok, pid()} | none.
process(Table, Role) ->
    case ets:lookup(Table, Role) of
        [{Role, Pid}] -> {ok, Pid};
        [] -> none
    end.

%% ---- Callers: {{caller, Pid}, their number} ----

%% @doc The number of this process, and whether it is a new one, to be watched from now on. It is kept in the process
%% dictionary as well: a call looks at this table as seldom as it can.
-spec caller(table()) -> {known | new, caller()}.
caller(Table) ->
    case get(?MODULE) of
        {Table, Number} -> {known, Number};
        _ -> look_up_caller(Table, {caller, self()})
    end.

look_up_caller(Table, Key) ->
    Found = case ets:lookup(Table, Key) of
        [{_, Number}] ->
            {known, Number};
        [] ->
            Number = erlang:unique_integer([positive]),
            true = ets:insert(Table, {Key, Number}),
            {new, Number}
    end,
    put(?MODULE, {Table, Number}),
    Found.

%% @doc Forgets a process; its number, if it had one.
-spec remove_caller(table(), pid()) -> [caller()].
remove_caller(Table, Pid) -> [Number || {_, Number} <- ets:take(Table, {caller, Pid})].

-spec callers(table()) -> [pid()].
callers(Table) -> ets:select(Table, [{{{caller, '$1'}, '_'}, [], ['$1']}]).

%% ---- Calls: {{the number of its caller, its own}, who hears of it, credit left, session} ----

%% @doc A call to be of that caller.
-spec ref(table() | none, caller()) -> ref().
ref(Table, Caller) -> {Table, Caller, erlang:unique_integer([positive])}.

-spec tag(ref()) -> tag().
tag({_, Caller, Call}) -> {Caller, Call}.

%% @doc Adds a call of this process.
-spec add_call(ref(), pos_integer() | infinity, snakemux_proto:session() | undefined) -> true.
add_call({Table, Caller, Call}, Credit, Session) ->
    Left = case Credit of infinity -> ?INFINITE; _ -> Credit end,
    ets:insert(Table, {{Caller, Call}, self(), Left, Session}).

%% @doc Removes the call; whoever gets `{ok, Pid, Session}' delivers its terminal event, so there is exactly one.
-spec take_call(ref()) -> {ok, pid(), snakemux_proto:session() | undefined} | none.
take_call({Table, Caller, Call}) ->
    case ets:take(Table, {Caller, Call}) of
        [{_, Pid, _, Session}] -> {ok, Pid, Session};
        [] -> none
    end.

-spec has_call(ref()) -> boolean().
has_call({Table, Caller, Call}) ->
    try ets:member(Table, {Caller, Call}) catch error:badarg -> false end.

%% @doc The running calls of a caller, or of `all'.
-spec calls(table(), caller() | all) -> [ref()].
calls(Table, all) -> [{Table, Caller, Call} || {Caller, Call} <- select_calls(Table, '$1')];
calls(Table, Number) -> [{Table, Caller, Call} || {Caller, Call} <- select_calls(Table, Number)].

select_calls(Table, Caller) -> ets:select(Table, [{{{Caller, '$2'}, '_', '_', '_'}, [{is_integer, '$2'}], [{element, 1, '$_'}]}]).

%% @doc So many chunks came: `passive' when they take the last credit, `over' when nobody waits for them any more.
-spec count_chunks(ref(), pos_integer()) -> {active | passive, pid()} | over.
count_chunks({Table, Caller, Call}, N) ->
    Key = {Caller, Call},
    try
        Pid = ets:lookup_element(Table, Key, 2),
        case ets:update_counter(Table, Key, {3, -N}) of
            0 -> {passive, Pid};
            _ -> {active, Pid}
        end
    catch
        error:badarg -> over
    end.

%% @doc False when the call is over, or the whole instance.
-spec add_credit(ref(), pos_integer() | infinity) -> boolean().
add_credit({Table, Caller, Call}, N) ->
    Key = {Caller, Call},
    try
        case ets:lookup_element(Table, Key, 3) of
            Left when Left < 0 -> true;
            _ when N =:= infinity -> ets:update_element(Table, Key, {3, ?INFINITE});
            _ -> is_integer(ets:update_counter(Table, Key, {3, N}))
        end
    catch
        error:badarg -> false
    end.

-spec has_calls(table()) -> boolean().
has_calls(Table) -> ets:select(Table, [{{{'$1', '_'}, '_', '_', '_'}, [{is_integer, '$1'}], [true]}], 1) =/= '$end_of_table'.

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

%% @doc Its time to live starts anew, if there is such a pin.
-spec use_pin(table(), snakemux_proto:session()) -> boolean().
use_pin(Table, Session) -> ets:update_element(Table, {pin, Session}, {4, erlang:monotonic_time(millisecond)}).

-spec unpin(table(), snakemux_proto:session()) -> true.
unpin(Table, Session) -> ets:delete(Table, {pin, Session}).

-spec pins(table()) -> [{snakemux_proto:session(), snakemux_proto:worker_id(), binary()}].
pins(Table) -> ets:select(Table, [{{{pin, '$1'}, '$2', '$3', '_'}, [], [{{'$1', '$2', '$3'}}]}]).

%% @doc Forgets pins that were not used for `Ttl' ms before `Now', as the port program does: a running call is a use.
-spec expire_pins(table(), integer(), pos_integer()) -> ok.
expire_pins(Table, Now, Ttl) ->
    Idle = ets:select(Table, [{{{pin, '$1'}, '_', '_', '$2'}, [{'<', '$2', Now - Ttl}], ['$1']}]),
    lists:foreach(fun(Session) -> is_running(Table, Session) andalso use_pin(Table, Session) orelse unpin(Table, Session) end, Idle).

is_running(Table, Session) ->
    ets:select(Table, [{{{'$1', '_'}, '_', '_', Session}, [{is_integer, '$1'}], [true]}], 1) =/= '$end_of_table'.

%% @doc Who has the table: as long as there is such a process, every call in it hears of its end.
-spec owner(ref()) -> pid() | undefined.
owner({Table, _, _}) ->
    try ets:info(Table, owner) catch error:badarg -> undefined end.

%% @doc The table goes to that process when its owner is killed.
-spec inherit(table(), pid()) -> true.
inherit(Table, Heir) -> ets:setopts(Table, {heir, Heir, inherited}).
