%% The port protocol against the real program: any term is a tag, and nothing that is sent ends it.
-module(snakemux_protocol_tests).

-include_lib("proper/include/proper.hrl").
-include_lib("eunit/include/eunit.hrl").

-define(COUNT, 500).

tag_test_() -> property(fun prop_tag/1).
list_test_() -> property(fun prop_list/1).
term_test_() -> property(fun prop_term/1).
bytes_test_() -> property(fun prop_bytes/1).
damage_test_() -> property(fun prop_damage/1).

property(Property) ->
    {timeout, 120, fun() ->
        Port = open(),
        Holds = snakemux_test_tools:check(Property(Port), ?COUNT),
        erlang:port_close(Port),
        ?assert(Holds)
    end}.

open() ->
    Port = snakemux_test_tools:open(snakemux_test_tools:program()),
    receive
        {Port, {data, Frame}} -> {hello, 1, #{}} = binary_to_term(Frame)
    end,
    Port.

%% Any term is a tag.
prop_tag(Port) ->
    ?FORALL(Tag, tag(), begin
        send(Port, term_to_binary({ping, Tag})),
        {ok, Tag, pong, #{}} =:= event(Port)
    end).

%% A list of messages is answered message by message.
prop_list(Port) ->
    ?FORALL(Tags, list(tag()), begin
        send(Port, term_to_binary([{ping, Tag} || Tag <- Tags])),
        lists:all(fun(Tag) -> {ok, Tag, pong, #{}} =:= event(Port) end, Tags)
    end).

%% No term ends the program, nor what looks like a message,
prop_term(Port) ->
    ?FORALL(Term, oneof([any(), message()]), is_alive_after(Port, term_to_binary(Term))).

%% nor any bytes,
prop_bytes(Port) ->
    ?FORALL(Bytes, oneof([binary(), ?LET(B, binary(), <<131, B/binary>>)]), is_alive_after(Port, Bytes)).

%% nor a message with one wrong byte.
prop_damage(Port) ->
    ?FORALL({Message, At, Byte}, {message(), non_neg_integer(), byte()}, begin
        Frame = term_to_binary(Message),
        Place = At rem byte_size(Frame),
        <<Before:Place/binary, _, Behind/binary>> = Frame,
        is_alive_after(Port, <<Before/binary, Byte, Behind/binary>>)
    end).

%% The ping behind it is answered, whatever is said of the frame before.
is_alive_after(Port, Frame) ->
    Tag = make_ref(),
    send(Port, Frame),
    send(Port, term_to_binary({ping, Tag})),
    pong(Port, Tag).

pong(Port, Tag) ->
    case event(Port) of
        {ok, Tag, pong, #{}} -> true;
        {exit_status, _} -> false;
        timeout -> false;
        _ -> pong(Port, Tag)
    end.

send(Port, Frame) -> true = erlang:port_command(Port, Frame).

event(Port) ->
    receive
        {Port, {data, Frame}} ->
            try
                binary_to_term(Frame)
            catch
                error:badarg -> damaged_tag
            end;
        {Port, {exit_status, Status}} ->
            {exit_status, Status}
    after 5000 -> timeout
    end.

tag() -> ?SUCHTHAT(Tag, oneof([any(), self(), make_ref(), fun() -> ok end, <<1:3>>, 1 bsl 100]),
    byte_size(term_to_binary(Tag)) =< 1024).

message() ->
    oneof([
        {execute, tag(), to(), name(), args(), options()},
        {execute_stream, tag(), to(), name(), args(), options()},
        {connect, tag(), name(), oneof([<<"unix:/nowhere">>, <<"ipv4:127.0.0.1:1">>, binary()]), options()},
        {disconnect, tag(), name(), oneof([now, {drain, integer()}])},
        {health, tag(), name(), options()},
        {info, tag(), name(), options()},
        {credit, tag(), oneof([integer(), infinity])},
        {cancel, tag()},
        {pin, name(), name(), name()},
        {end_session, tag(), name()},
        {calls, tag(), integer()},
        {stats, tag()}
    ]).

to() -> oneof([any, {worker, name()}, {session, name()}, {session, name(), name()}]).

name() -> oneof([<<"a">>, binary(), any()]).

args() -> oneof([#{}, #{a => any()}, any()]).

options() ->
    ?LET(
        Pairs,
        list(
            oneof([
                {timeout, oneof([1, infinity, integer()])},
                {credit, oneof([1, infinity, integer()])},
                {codec, oneof([raw, terms, json, msgpack, auto])},
                {metadata, oneof([#{}, #{<<"k">> => <<"v">>}, [{binary(), binary()}], any()])},
                {commands, oneof([all, [], [binary()], any()])},
                {any(), any()}
            ])
        ),
        maps:from_list(Pairs)
    ).
