%% What the mux writes to the port program: calls that were handed to it, those that are in its mailbox together in one
%% frame, and commands of its own. It must not be suspended by a full pipe: for what can't be written now another process
%% is, while callers go on handing over. That one is resumed as callers are, each in its turn; whoever only tries again and
%% again finds the pipe filled by them each time.
-module(snakemux_writer).

-export([new/0, new/3, is_small/1, gather/2, write_gathered/1, push/2, written/1, weigh/2, send/2, write/2]).

-export_type([writer/0]).

%% Commands up to so many bytes may be handed over, and so many go in one frame.
-define(SMALL, 4096).
-define(MOST_GATHERED, 64).

-record(writer, {
    table :: snakemux_table:table() | undefined,
    port :: port() | undefined,
    %% Whether callers write themselves or hand over; never where a frame of many could be too large.
    way = never :: direct | gather | never,
    %% How many events came in a frame of late, smoothed: where there are several, callers hand over their commands.
    load = 1.0 :: float(),
    %% Commands that wait to be written in one frame, the newest first.
    gathered = [] :: [tuple()],
    %% What the full pipe did not take yet, the oldest first: that one is being written. Not as terms: a list of bytes would
    %% be 16 times as large.
    unsent = queue:new() :: queue:queue(iodata())
}).

-opaque writer() :: #writer{}.

%% @doc While there is no port program: what is to be written is forgotten.
-spec new() -> writer().
new() -> #writer{}.

%% @doc To a port program that takes frames of so many bytes.
-spec new(snakemux_table:table(), port(), MaxFrame :: non_neg_integer()) -> writer().
new(Table, Port, MaxFrame) ->
    #writer{table = Table, port = Port, way = case MaxFrame > 2 * ?SMALL * ?MOST_GATHERED of true -> direct; false -> never end}.

%% @doc Whether a command may be handed over.
-spec is_small(tuple()) -> boolean().
is_small(Message) -> erlang:external_size(Message) =< ?SMALL.

%% @doc Keeps a command for those that are in the mailbox of the calling process by now. Behind them it finds
%% `write_gathered'.
-spec gather(tuple(), writer()) -> writer().
gather(Message, #writer{gathered = []} = Writer) ->
    self() ! write_gathered,
    Writer#writer{gathered = [Message]};
gather(Message, #writer{gathered = Gathered} = Writer) ->
    Next = Writer#writer{gathered = [Message | Gathered]},
    case length(Gathered) + 1 < ?MOST_GATHERED of true -> Next; false -> write_gathered(Next) end.

-spec write_gathered(writer()) -> writer().
write_gathered(#writer{gathered = Gathered} = Writer) -> push(lists:reverse(Gathered), Writer#writer{gathered = []}).

%% @doc Writes messages in one frame, behind what is unsent. When another process has written it for the calling one, that
%% one finds `{written, Port}'.
-spec push([tuple()], writer()) -> writer().
push([], Writer) ->
    Writer;
push(Messages, #writer{unsent = Unsent} = Writer) ->
    Next = Writer#writer{unsent = queue:in(snakemux_proto:encode(Messages), Unsent)},
    case queue:is_empty(Unsent) of true -> flush(Next); false -> Next end.

-spec written(writer()) -> writer().
written(#writer{unsent = Unsent} = Writer) -> flush(Writer#writer{unsent = queue:drop(Unsent)}).

flush(#writer{port = undefined} = Writer) ->
    Writer#writer{unsent = queue:new()};
flush(#writer{port = Port, unsent = Unsent} = Writer) ->
    case queue:out(Unsent) of
        {{value, Bytes}, Rest} ->
            try port_command(Port, Bytes, [nosuspend]) of
                true -> flush(Writer#writer{unsent = Rest});
                false ->
                    Self = self(),
                    spawn(fun() -> write(Port, Bytes), Self ! {written, Port} end),
                    Writer
            catch
                error:badarg -> Writer
            end;
        {empty, _} ->
            Writer
    end.

%% @doc So many events came in a frame. Handing over saves most of the writes, but is a detour for calls that come one by
%% one.
-spec weigh(non_neg_integer(), writer()) -> writer().
weigh(Events, #writer{load = Load0, way = Way} = Writer) ->
    Load = Load0 + (Events - Load0) / 32,
    case Way of
        direct when Load > 3.0 -> turn(gather, Writer#writer{load = Load});
        gather when Load < 2.0 -> turn(direct, Writer#writer{load = Load});
        _ -> Writer#writer{load = Load}
    end.

turn(Way, #writer{table = Table} = Writer) ->
    snakemux_table:hand_over(Table, case Way of gather -> self(); direct -> direct end),
    Writer#writer{way = Way}.

%% @doc Writes a message from the calling process, which a full pipe suspends. False when there is no such port any more.
-spec send(port(), term()) -> boolean().
send(Port, Message) -> write(Port, snakemux_proto:encode(Message)).

%% @doc The same with one that is encoded.
-spec write(port(), iodata()) -> boolean().
write(Port, Bytes) ->
    try port_command(Port, Bytes) catch error:badarg -> false end.
