%% Large commands on their way to a port program that gives back what it gets: cat.
-module(snakemux_sender_tests).
-include_lib("eunit/include/eunit.hrl").

-define(PART, 65000).

setup() ->
    Table = snakemux_table:new(sender_test, #{program => "", max_message => 1}),
    Port = open_port({spawn_executable, os:find_executable("cat")}, [binary, {packet, 4}]),
    {Table, Port, snakemux_sender:start_link()}.

%% All have come before the first one is written; each of them is a message of that many bytes, more or less.
send({Table, Port, Sender}, Sizes) ->
    Self = self(),
    erlang:suspend_process(Sender),
    {_, Before} = process_info(Sender, message_queue_len),
    Calls = [begin
        Ref = snakemux_table:ref(Table, 1),
        snakemux_table:add_call(Ref, infinity, undefined),
        Message = {execute, snakemux_table:tag(Ref), binary:copy(<<N>>, Size - 100), lists:seq(1, N)},
        Bytes = snakemux_proto:encode(Message),
        spawn_link(fun() -> Self ! {Ref, snakemux_sender:send(Sender, Port, Ref, Bytes, iolist_size(Bytes))} end),
        await_message(Sender, Before + N),
        {Ref, Message}
    end || {N, Size} <- lists:enumerate(Sizes)],
    Calls.

written({_, _, Sender}, Calls) ->
    erlang:resume_process(Sender),
    answers(Calls).

answers(Calls) -> [receive {Ref, IsWritten} -> IsWritten end || {Ref, _} <- Calls].

await_message(Pid, N) ->
    case process_info(Pid, message_queue_len) of
        {_, N} -> ok;
        _ -> receive after 1 -> await_message(Pid, N) end
    end.

%% What has been written until the last part of so many: which call it was of, by its number, and the messages.
frames(Port, Calls) -> frames(Port, [snakemux_table:tag(Ref) || {Ref, _} <- Calls], length(Calls), [], #{}).

frames(_, Tags, 0, Turns, Parts) ->
    Read = fun(Tag) -> binary_to_term(iolist_to_binary(lists:reverse(maps:get(Tag, Parts)))) end,
    {lists:reverse(Turns), lists:map(Read, Tags)};
frames(Port, Tags, Left, Turns, Parts) ->
    {Kind, Tag, Bytes} = frame(Port),
    ?assert(Kind =:= last orelse byte_size(Bytes) =:= ?PART),
    Number = length(lists:takewhile(fun(T) -> T =/= Tag end, Tags)) + 1,
    Add = fun(Before) -> [Bytes | Before] end,
    frames(Port, Tags, case Kind of last -> Left - 1; part -> Left end, [Number | Turns], maps:update_with(Tag, Add, [Bytes], Parts)).

frame(Port) -> receive {Port, {data, Frame}} -> binary_to_term(Frame) after 5000 -> error(silence) end.

take_turns_test() ->
    {_, Port, Sender} = Setup = setup(),
    snakemux_sender:limit(Sender, 100 * ?PART),
    Calls = send(Setup, [3 * ?PART, ?PART + 1000, 2 * ?PART]),
    ?assertEqual([true, true, true], written(Setup, Calls)),
    {Turns, Messages} = frames(Port, Calls),
    ?assertEqual([1, 2, 3, 1, 2, 3, 1], Turns),
    ?assertEqual([Message || {_, Message} <- Calls], Messages).

%% The second has to wait for room, the third behind it, and what is larger than all of it is alone.
room_test() ->
    {_, Port, Sender} = Setup = setup(),
    snakemux_sender:limit(Sender, 6 * ?PART),
    Calls = send(Setup, [4 * ?PART, 3 * ?PART, ?PART + 1000, 7 * ?PART]),
    ?assertEqual([true, true, true, true], written(Setup, Calls)),
    {Turns, _} = frames(Port, Calls),
    ?assertEqual([1, 1, 1, 1, 2, 3, 2, 3, 2, 4, 4, 4, 4, 4, 4, 4], Turns).

%% Not begun, it is not written at all.
nobody_waits_test() ->
    {_, Port, _} = Setup = setup(),
    [{Ref, _} | Others] = Calls = send(Setup, [2 * ?PART, 2 * ?PART]),
    {ok, _, _} = snakemux_table:take_call(Ref),
    ?assertEqual([true, true], written(Setup, Calls)),
    ?assertMatch({[1, 1], _}, frames(Port, Others)).

%% Begun, it is cancelled instead of ended.
nobody_waits_any_more_test() ->
    {_, Port, Sender} = Setup = setup(),
    {os_pid, Pid} = erlang:port_info(Port, os_pid),
    [{Ref, _}] = Calls = send(Setup, [20 * ?PART]),
    signal("STOP", Pid),
    erlang:resume_process(Sender),
    await_status(Sender, suspended),
    {ok, _, _} = snakemux_table:take_call(Ref),
    signal("CONT", Pid),
    ?assertEqual([true], answers(Calls)),
    Tag = snakemux_table:tag(Ref),
    Rest = fun Rest() -> case frame(Port) of {part, Tag, _} -> Rest(); Other -> Other end end,
    ?assertEqual({cancel, Tag}, Rest()).

signal(Signal, Pid) -> [] = os:cmd("kill -" ++ Signal ++ " " ++ integer_to_list(Pid)).

await_status(Pid, Status) ->
    process_info(Pid, status) =:= {status, Status} orelse receive after 1 -> await_status(Pid, Status) end.

closed_test() ->
    {_, Port, _} = Setup = setup(),
    Calls = send(Setup, [2 * ?PART, 2 * ?PART]),
    port_close(Port),
    ?assertEqual([false, false], written(Setup, Calls)).

%% Whoever waits for one that is killed hears of it.
killed_test() ->
    {_, _, Sender} = Setup = setup(),
    Calls = send(Setup, [2 * ?PART]),
    unlink(Sender),
    exit(Sender, kill),
    ?assertEqual([false], answers(Calls)).
