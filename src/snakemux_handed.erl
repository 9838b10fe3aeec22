%% The calls that callers handed to the mux: it writes them and tells their ends, nobody else touches them, and so they
%% are in no table. Pure.
-module(snakemux_handed).

-export([new/0, add/4, take/2, tags/1, tags/2, sessions/1]).

-export_type([calls/0]).

%% By a call's number: that of its caller, the process that waits for it, and its session.
-opaque calls() :: #{pos_integer() => {Caller :: non_neg_integer(), pid(), snakemux_proto:session() | undefined}}.

-spec new() -> calls().
new() -> #{}.

%% @doc With the call of this tag, whose end that process waits for.
-spec add(snakemux_table:tag(), pid(), snakemux_proto:session() | undefined, calls()) -> calls().
add({Caller, Call}, Pid, Session, Calls) -> Calls#{Call => {Caller, Pid, Session}}.

%% @doc Who waits for the call of this number, and its session; without it.
-spec take(pos_integer(), calls()) -> {pid(), snakemux_proto:session() | undefined, calls()} | error.
take(Call, Calls) ->
    case maps:take(Call, Calls) of
        {{_, Pid, Session}, Rest} -> {Pid, Session, Rest};
        error -> error
    end.

%% @doc The tags of all of them.
-spec tags(calls()) -> [snakemux_table:tag()].
tags(Calls) -> [{Caller, Call} || {Call, {Caller, _, _}} <- maps:to_list(Calls)].

%% @doc The tags of those of one caller.
-spec tags(non_neg_integer(), calls()) -> [snakemux_table:tag()].
tags(Caller, Calls) -> [Tag || {Its, _} = Tag <- tags(Calls), Its =:= Caller].

%% @doc The sessions that they are of.
-spec sessions(calls()) -> [snakemux_proto:session()].
sessions(Calls) -> lists:usort([Session || {_, _, Session} <- maps:values(Calls), Session =/= undefined]).
