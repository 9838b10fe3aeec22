%% What a worker prints: its lines go to the logger, but not more of them than anybody reads, and the last ones are kept
%% for the day it ends. Pure but for the logger.
-module(snakemux_output).

-export([new/1, add/2, is_fresh/1, refill/1, last_words/2]).

-export_type([output/0]).

%% Lines that go to the logger between two refills; the rest is counted.
-define(LINES, 100).
%% Lines that are kept, and the longest line.
-define(TAIL, 20).
-define(LENGTH, 4096).

-record(output, {
    id :: snakemux_proto:worker_id(),
    %% The last lines, the newest first, and what came of the next one.
    lines = [] :: [binary()],
    partial = <<>> :: binary(),
    quota = ?LINES :: non_neg_integer(),
    dropped = 0 :: non_neg_integer()
}).
-opaque output() :: #output{}.

-spec new(snakemux_proto:worker_id()) -> output().
new(Id) -> #output{id = Id}.

%% @doc Takes what was printed. Beyond the quota that costs nothing, however much it is: else a worker that prints
%% without end would fill the mailbox of whoever listens.
-spec add(binary(), output()) -> output().
add(Bytes, #output{quota = 0, partial = Partial, dropped = Dropped} = Output) ->
    Last = binary:part(Bytes, byte_size(Bytes), -min(byte_size(Bytes), ?LENGTH)),
    Output#output{partial = tail(<<Partial/binary, Last/binary>>), dropped = Dropped + byte_size(Bytes)};
add(Bytes, #output{partial = Partial} = Output) ->
    lines(binary:split(<<Partial/binary, Bytes/binary>>, <<"\n">>, [global]), Output).

lines([Last], Output) when byte_size(Last) =< ?LENGTH -> Output#output{partial = Last};
lines([<<Start:?LENGTH/binary, Rest/binary>> | More], Output) -> lines([Rest | More], line(Start, Output));
lines([Line | More], Output) -> lines(More, line(Line, Output)).

line(Bytes, #output{id = Id, lines = Lines, quota = Quota, dropped = Dropped} = Output) ->
    Line = printable(Bytes),
    Kept = Output#output{lines = lists:sublist([Line | Lines], ?TAIL)},
    case Quota of
        0 ->
            Kept#output{dropped = Dropped + byte_size(Line) + 1};
        _ ->
            logger:info("~ts: ~ts", [Id, Line], #{snakemux_worker => Id}),
            Kept#output{quota = Quota - 1}
    end.

%% The logger wants text; what is none is read as Latin-1.
printable(Bytes) ->
    case unicode:characters_to_binary(Bytes) of
        Text when is_binary(Text) -> Text;
        _ -> unicode:characters_to_binary(Bytes, latin1)
    end.

tail(Bytes) -> binary:copy(binary:part(Bytes, byte_size(Bytes), -min(byte_size(Bytes), ?LENGTH))).

%% @doc Nothing went to the logger since the last refill, so none is due.
-spec is_fresh(output()) -> boolean().
is_fresh(#output{quota = Quota}) -> Quota =:= ?LINES.

%% @doc A second has gone by.
-spec refill(output()) -> output().
refill(#output{dropped = 0} = Output) -> Output#output{quota = ?LINES};
refill(#output{id = Id, dropped = Dropped, partial = Partial} = Output) ->
    logger:warning("~ts: ~b bytes of output were not logged", [Id, Dropped], #{snakemux_worker => Id}),
    lines(binary:split(Partial, <<"\n">>, [global]), Output#output{quota = ?LINES, dropped = 0, partial = <<>>}).

%% @doc What it printed last, and what to do about it, to be put behind the reason of its end.
-spec last_words(snakemux_spec:worker(), output()) -> iodata().
last_words(Worker, #output{lines = Lines, partial = Partial}) ->
    More = [printable(Line) || Line <- lists:reverse(binary:split(Partial, <<"\n">>, [global])), Line =/= <<>>],
    Tail = lists:reverse(lists:sublist(More ++ Lines, ?TAIL)),
    [hint(Tail, Worker), [["; its last output:" | [["\n  | ", Line] || Line <- Tail]] || Tail =/= []]].

hint(Tail, #{kind := python, argv := [Python | _]}) ->
    Missing = [
        Module
     || Line <- Tail, Module <- ["grpc", "google"], string:find(Line, ["No module named '", Module]) =/= nomatch
    ],
    case Missing of
        [] -> "";
        _ -> [": that interpreter lacks grpcio. Run: ", Python, " -m pip install grpcio protobuf msgpack"]
    end;
hint(_, _) -> "".
