%% Hands events of the port program to the processes that they are for. It owns nothing: who waits for what, and where
%% sessions live, is in the instance's table, and with the mux what it was handed.
-module(snakemux_delivery).

-export([event/3, chunks/3, finish/3, fail_all/3, tell_workers/3]).

%% @doc Hands over an event of a call or a worker, nothing for any other; the calls that the mux has been handed and
%% that are still running.
-spec event(tuple(), snakemux_table:table(), snakemux_handed:calls()) -> snakemux_handed:calls().
event({ok, {Caller, Call}, Result, _}, Table, Handed) when is_integer(Caller) ->
    finish({Table, Caller, Call}, {ok, unwrap(Result)}, Handed);
event({done, {Caller, Call}, Meta}, Table, Handed) ->
    finish({Table, Caller, Call}, {done, Meta}, Handed);
event({error, {Caller, Call}, Error}, Table, Handed) when is_integer(Caller) ->
    finish({Table, Caller, Call}, {error, explain(Error, Table)}, Handed);
event(Event, Table, Handed) ->
    _ = event(Event, Table),
    Handed.

event({pinned, Session, Id, Incarnation}, Table) ->
    snakemux_table:pin(Table, Session, Id, Incarnation);
event({error, {connect, Id}, #{code := Code} = Error}, Table) when Code =/= already_exists ->
    tell_worker(Id, refused, Error, Table);
event({worker, Id, WorkerState, Info}, Table) ->
    tell_worker(Id, WorkerState, Info, Table);
event(_, _) ->
    ok.

%% @doc Hands over chunks of one stream.
-spec chunks(snakemux_table:tag(), [tuple()], snakemux_table:table()) -> ok.
chunks({Caller, Call}, Chunks, Table) ->
    Ref = {Table, Caller, Call},
    case snakemux_table:count_chunks(Ref, length(Chunks)) of
        {More, Pid} ->
            lists:foreach(fun({chunk, _, Chunk}) -> Pid ! {snakemux, Ref, {chunk, unwrap(Chunk)}} end, Chunks),
            _ = More =:= passive andalso (Pid ! {snakemux, Ref, passive}),
            ok;
        over ->
            ok
    end.

%% @doc Whoever takes a call out of the table, or of those that were handed over, delivers its end: so there is exactly one.
-spec finish(snakemux_table:ref(), snakemux_proto:event(), snakemux_handed:calls()) -> snakemux_handed:calls().
finish({Table, _, _} = Ref, Event, Handed) ->
    case snakemux_handed:take(snakemux_table:tag(Ref), Handed) of
        {Pid, Session, Rest} ->
            tell(Pid, Ref, Event, Session, Table),
            Rest;
        error ->
            _ = [tell(Pid, Ref, Event, Session, Table) || {ok, Pid, Session} <- [snakemux_table:take_call(Ref)]],
            Handed
    end.

tell(Pid, Ref, Event, Session, Table) ->
    Pid ! {snakemux, Ref, Event},
    Session =:= undefined orelse use_pin(Event, Session, Table).

%% A call of a session ended: its pin is kept from now on for another session_ttl.
use_pin({error, #{reason := session_lost}}, Session, Table) -> snakemux_table:unpin(Table, Session);
use_pin(_, Session, Table) -> snakemux_table:use_pin(Table, Session).

%% @doc The same end for every call there is.
-spec fail_all(snakemux_table:table(), snakemux_proto:error(), snakemux_handed:calls()) -> snakemux_handed:calls().
fail_all(Table, Error, Handed) ->
    Refs = [{Table, Caller, Call} || {Caller, Call} <- snakemux_handed:tags(Handed)] ++ snakemux_table:calls(Table, all),
    lists:foldl(fun(Ref, Left) -> finish(Ref, {error, Error}, Left) end, Handed, Refs).

%% @doc The same of its connection for every worker.
-spec tell_workers(atom(), map(), snakemux_table:table()) -> ok.
tell_workers(What, Info, Table) ->
    lists:foreach(fun({_, Pid, _}) -> Pid ! {snakemux_worker, What, Info} end, snakemux_table:workers(Table)).

tell_worker(Id, What, Info, Table) ->
    [Pid ! {snakemux_worker, What, Info} || {ok, Pid, _} <- [snakemux_table:worker(Table, Id)]].

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
