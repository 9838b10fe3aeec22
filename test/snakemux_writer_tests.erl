%% What is written to a port program that gives back what it gets: cat.
-module(snakemux_writer_tests).
-include_lib("eunit/include/eunit.hrl").

setup() -> setup("cat", []).

setup(Program, Arguments) ->
    Table = snakemux_table:new(writer_test, #{program => "", max_message => 1}),
    Port = open_port({spawn_executable, os:find_executable(Program)}, [binary, {packet, 4}, {args, Arguments}]),
    {Table, Port, snakemux_writer:new(Table, Port, 64 * 1048576)}.

frame(Port) -> receive {Port, {data, Frame}} -> binary_to_term(Frame) after 5000 -> error(silence) end.

gather(Messages, Writer) -> lists:foldl(fun snakemux_writer:gather/2, Writer, Messages).

take(Message) -> receive Message -> ok after 0 -> none end.

together_test() ->
    {_, Port, Writer} = setup(),
    Gathered = gather([{ping, 1}, {ping, 2}, {ping, 3}], Writer),
    ?assertEqual({ok, none}, {take(write_gathered), take(write_gathered)}),
    _ = snakemux_writer:push([{ping, 4}], snakemux_writer:write_gathered(Gathered)),
    ?assertEqual([{ping, 1}, {ping, 2}, {ping, 3}], frame(Port)),
    ?assertEqual([{ping, 4}], frame(Port)).

%% So many that they go at once.
many_test() ->
    {_, Port, Writer} = setup(),
    Messages = [{ping, N} || N <- lists:seq(1, 100)],
    _ = snakemux_writer:write_gathered(gather(Messages, Writer)),
    First = frame(Port),
    ?assertEqual(Messages, First ++ frame(Port)),
    ?assertEqual(64, length(First)).

%% Nothing is read for as long as nobody says so: this process goes on, callers hand over as before, and all comes in order.
full_pipe_test_() ->
    {timeout, 20, fun() ->
        Fifo = string:trim(os:cmd("mktemp -u")),
        "" = os:cmd("mkfifo " ++ Fifo),
        {Table, Port, New} = setup("timeout", ["20", "sh", "-c", "read _ < " ++ Fifo ++ "; exec cat"]),
        snakemux_table:publish(Table, Port),
        Writer = lists:foldl(fun(_, W) -> snakemux_writer:weigh(8, W) end, New, lists:seq(1, 100)),
        Messages = [{ping, {N, binary:copy(<<"x">>, 100000)}} || N <- lists:seq(1, 20)],
        Full = lists:foldl(fun(Message, W) -> snakemux_writer:push([Message], W) end, Writer, Messages),
        ?assertEqual(self(), snakemux_table:taker(snakemux_table:ref(Table, 1))),
        "" = os:cmd("echo > " ++ Fifo ++ "; rm " ++ Fifo),
        ?assertEqual([[Message] || Message <- Messages], all(Port, Full, length(Messages)))
    end}.

all(_, _, 0) -> [];
all(Port, Writer, Left) ->
    receive
        {Port, {data, Frame}} -> [binary_to_term(Frame) | all(Port, Writer, Left - 1)];
        {written, Port} -> all(Port, snakemux_writer:written(Writer), Left)
    after 5000 -> error(silence)
    end.

%% Callers are asked to hand over when several events come in a frame, and no more when they come one by one.
load_test() ->
    {Table, Port, Writer} = setup(),
    snakemux_table:publish(Table, Port),
    Weigh = fun(Events, Times, W) -> lists:foldl(fun(_, Next) -> snakemux_writer:weigh(Events, Next) end, W, lists:seq(1, Times)) end,
    Ref = snakemux_table:ref(Table, 1),
    ?assertEqual(direct, snakemux_table:taker(Ref)),
    Busy = Weigh(8, 100, Writer),
    ?assertEqual(self(), snakemux_table:taker(Ref)),
    _ = Weigh(1, 100, Busy),
    ?assertEqual(direct, snakemux_table:taker(Ref)).

%% Where a frame of many would be too large for the port program.
small_frames_test() ->
    {Table, Port, _} = setup(),
    snakemux_table:publish(Table, Port),
    _ = lists:foldl(fun(_, W) -> snakemux_writer:weigh(50, W) end, snakemux_writer:new(Table, Port, 65536), lists:seq(1, 100)),
    ?assertEqual(direct, snakemux_table:taker(snakemux_table:ref(Table, 1))).

without_a_port_test() ->
    Writer = snakemux_writer:push([{ping, 1}], snakemux_writer:new()),
    ?assertEqual(snakemux_writer:new(), Writer).
