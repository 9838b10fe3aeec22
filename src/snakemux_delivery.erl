%% Hands events of the port program to the processes that they are for. It owns nothing: who waits for what, and where
%% sessions live, is in the instance's table.
-module(snakemux_delivery).

-export([event/2, finish/2, fail_all/2, tell_workers/3]).

%% @doc Hands over an event of a call or a worker; nothing for any other.
-spec event(tuple(), snakemux_table:table()) -> term().
event({chunk, {Caller, Call}, Chunk}, Table) ->
    Ref = {Table, Caller, Call},
    case snakemux_table:count_chunk(Ref) of
        {active, Pid} -> Pid ! {snakemux, Ref, {chunk, unwrap(Chunk)}};
        {passive, Pid} -> Pid ! {snakemux, Ref, {chunk, unwrap(Chunk)}}, Pid ! {snakemux, Ref, passive};
        over -> over
    end;
event({ok, {Caller, Call}, Result, _}, Table) when is_integer(Caller) ->
    use_pin(Table, finish({Table, Caller, Call}, {ok, unwrap(Result)}), none);
event({done, {Caller, Call}, Meta}, Table) ->
    use_pin(Table, finish({Table, Caller, Call}, {done, Meta}), none);
event({error, {Caller, Call}, #{reason := Reason} = Error}, Table) when is_integer(Caller) ->
    use_pin(Table, finish({Table, Caller, Call}, {error, explain(Error, Table)}), Reason);
event({pinned, Session, Id, Incarnation}, Table) ->
    snakemux_table:pin(Table, Session, Id, Incarnation);
event({error, {connect, Id}, #{code := Code} = Error}, Table) when Code =/= already_exists ->
    tell_worker(Id, refused, Error, Table);
event({worker, Id, WorkerState, Info}, Table) ->
    tell_worker(Id, WorkerState, Info, Table);
event(_, _) ->
    ok.

%% @doc Whoever takes a call out of the table delivers its end, so there is exactly one.
-spec finish(snakemux_table:ref(), snakemux_proto:event()) -> {ok, snakemux_proto:session() | undefined} | none.
finish(Ref, Event) ->
    case snakemux_table:take_call(Ref) of
        {ok, Pid, Session} ->
            Pid ! {snakemux, Ref, Event},
            {ok, Session};
        none ->
            none
    end.

%% @doc The same end for every call there is.
-spec fail_all(snakemux_table:table(), snakemux_proto:error()) -> ok.
fail_all(Table, Error) ->
    lists:foreach(fun(Ref) -> finish(Ref, {error, Error}) end, snakemux_table:calls(Table, all)).

%% @doc The same of its connection for every worker.
-spec tell_workers(atom(), map(), snakemux_table:table()) -> ok.
tell_workers(What, Info, Table) ->
    lists:foreach(fun({_, Pid, _}) -> Pid ! {snakemux_worker, What, Info} end, snakemux_table:workers(Table)).

tell_worker(Id, What, Info, Table) ->
    [Pid ! {snakemux_worker, What, Info} || {ok, Pid, _} <- [snakemux_table:worker(Table, Id)]].

%% A call of a session ended: its pin is kept from now on for another session_ttl.
use_pin(Table, {ok, Session}, session_lost) -> snakemux_table:unpin(Table, Session);
use_pin(Table, {ok, Session}, _) when Session =/= undefined -> snakemux_table:use_pin(Table, Session);
use_pin(_, _, _) -> true.

unwrap(#{<<"snakemux.value">> := Value} = Map) when map_size(Map) =:= 1 -> Value;
unwrap(Value) -> Value.

%% That no worker took a call has reasons that only this side knows. One that is not connected is here all the same.
explain(#{reason := no_worker, code := not_found, worker := Id} = Error, Table) ->
    case snakemux_table:worker(Table, Id) of
        {ok, _, #{state := State}} ->
            Text = iolist_to_binary(["worker ", Id, " is ", atom_to_binary(State)]),
            explain(Error#{code := unavailable, reason := worker_down, message := Text}, Table);
        none ->
            Error
    end;
explain(#{reason := Reason, origin := mux, sent := false, message := Message} = Error, Table)
        when Reason =:= no_worker; Reason =:= worker_down; Reason =:= deadline ->
    Texts = [[$\n, Id, ": ", Text] || {Id, _, #{text := Text}} <- snakemux_table:workers(Table)],
    Error#{message := iolist_to_binary([Message | Texts])};
explain(Error, _) ->
    Error.
