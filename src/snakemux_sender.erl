%% Writes the commands that are too large for one frame: in parts, one of each in turn, so that everybody's small
%% commands go in between, and of no more of them at a time than the port program holds. A full pipe suspends this
%% process, while the callers wait for it. What nobody waits for any more is not written to its end.
-module(snakemux_sender).

-export([start_link/0, limit/2, send/5]).

%% Bytes in one part: with its frame it goes into the pipe of stdin (64 KiB) in one piece.
-define(PART, 65000).
%% What the port program counts for each of them beside their bytes.
-define(OVERHEAD, 1024).

-record(command, {
    port :: port(),
    ref :: snakemux_table:ref(),
    reply :: reference(),
    bytes :: [binary()],
    left :: non_neg_integer(),
    weight :: pos_integer(),
    begun = false :: boolean()
}).

-record(state, {
    %% The next one to be written first.
    open = [] :: [#command{}],
    held = 0 :: non_neg_integer(),
    max = 0 :: non_neg_integer(),
    %% Those for which there is no room yet, the oldest first.
    waiting = [] :: [#command{}]
}).

-spec start_link() -> pid().
start_link() -> spawn_link(fun() -> loop(#state{}) end).

%% @doc How much the port program holds of commands whose last part has not come.
-spec limit(pid(), non_neg_integer()) -> ok.
limit(Sender, Max) ->
    Sender ! {limit, Max},
    ok.

%% @doc Returns when an encoded command of so many bytes has been written, or its call is over. False when there is no
%% such port any more.
-spec send(pid(), port(), snakemux_table:ref(), [binary()], pos_integer()) -> boolean().
send(Sender, Port, Ref, Bytes, Size) ->
    Reply = erlang:monitor(process, Sender, [{alias, reply_demonitor}]),
    Sender ! #command{port = Port, ref = Ref, reply = Reply, bytes = Bytes, left = Size, weight = Size + ?OVERHEAD},
    receive
        {Reply, IsWritten} -> IsWritten;
        {'DOWN', Reply, process, _, _} -> false
    end.

loop(#state{open = Open} = State) ->
    receive
        {limit, Max} -> loop(State#state{max = Max});
        #command{} = Command -> loop(enter(Command, State))
    after case Open of [] -> infinity; _ -> 0 end ->
        loop(write_next(State))
    end.

%% One that is larger than all that may be held is told so by the port program. None overtakes one that waits: it might
%% wait for ever.
enter(#command{weight = Weight} = Command, #state{open = Open, held = Held, max = Max, waiting = []} = State)
        when Open =:= []; Held + Weight =< Max ->
    State#state{open = Open ++ [Command], held = Held + Weight};
enter(Command, #state{waiting = Waiting} = State) ->
    State#state{waiting = Waiting ++ [Command]}.

write_next(#state{open = [#command{weight = Weight, reply = Reply} = Command | Open], held = Held} = State) ->
    case write_part(Command) of
        #command{} = Next ->
            State#state{open = Open ++ [Next]};
        IsWritten ->
            Reply ! {Reply, IsWritten},
            #state{waiting = Waiting} = State,
            lists:foldl(fun enter/2, State#state{open = Open, held = Held - Weight, waiting = []}, Waiting)
    end.

write_part(#command{port = Port, ref = Ref, bytes = Bytes, left = Left, begun = Begun} = Command) ->
    Tag = snakemux_table:tag(Ref),
    Size = min(Left, ?PART),
    case snakemux_table:has_call(Ref) of
        true when Left > Size ->
            {Part, Rest} = cut(Bytes, Size),
            snakemux_writer:send(Port, {part, Tag, join(Part)}) andalso
                Command#command{bytes = Rest, left = Left - Size, begun = true};
        true ->
            snakemux_writer:send(Port, {last, Tag, join(Bytes)});
        false ->
            Begun =:= false orelse snakemux_writer:send(Port, {cancel, Tag})
    end.

cut([First | Rest], Size) when byte_size(First) < Size ->
    {Part, Left} = cut(Rest, Size - byte_size(First)),
    {[First | Part], Left};
cut([First | Rest], Size) ->
    <<Part:Size/binary, Left/binary>> = First,
    {[Part], [Left | Rest]}.

%% Not a copy where it is a piece of a large binary.
join([Bytes]) -> Bytes;
join(Bytes) -> iolist_to_binary(Bytes).
