%% The calls that callers handed to the mux: it writes them and tells their ends, nobody else touches them, and so they
%% are in no table. A caller waits for its call, so that it has one at most. Pure.
-module(snakemux_handed).

-export([new/0, is_empty/1, add/4, take/2, drop/2, tags/1, sessions/1]).

-export_type([calls/0]).

%% By the number of the caller: that of its call, its process, and the session.
-opaque calls() :: #{non_neg_integer() => {Call :: pos_integer(), pid(), snakemux_proto:session() | undefined}}.

-spec new() -> calls().
new() -> #{}.

-spec is_empty(calls()) -> boolean().
is_empty(Calls) -> map_size(Calls) =:= 0.

%% @doc With the call of this tag, whose end that process waits for.
-spec add(snakemux_table:tag(), pid(), snakemux_proto:session() | undefined, calls()) -> calls().
add({Caller, Call}, Pid, Session, Calls) -> Calls#{Caller => {Call, Pid, Session}}.

%% @doc Who waits for the call of this tag, its session, and the calls without it.
-spec take(snakemux_table:tag(), calls()) -> {pid(), snakemux_proto:session() | undefined, calls()} | error.
take({Caller, Call}, Calls) ->
    case Calls of
        #{Caller := {Call, Pid, Session}} -> {Pid, Session, maps:remove(Caller, Calls)};
        #{} -> error
    end.

%% @doc The tag of what this caller waits for, if anything, and the calls without it.
-spec drop(non_neg_integer(), calls()) -> {[snakemux_table:tag()], calls()}.
drop(Caller, Calls) ->
    case maps:take(Caller, Calls) of
        {{Call, _, _}, Rest} -> {[{Caller, Call}], Rest};
        error -> {[], Calls}
    end.

-spec tags(calls()) -> [snakemux_table:tag()].
tags(Calls) -> [{Caller, Call} || {Caller, {Call, _, _}} <- maps:to_list(Calls)].

%% @doc The sessions that they are of.
-spec sessions(calls()) -> [snakemux_proto:session()].
sessions(Calls) -> lists:usort([Session || {_, _, Session} <- maps:values(Calls), Session =/= undefined]).
