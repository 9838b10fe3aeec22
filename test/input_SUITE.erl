%% What comes in on stdin: whatever it is, the program answers it and serves the next call as if nothing had been.
%% The rows are those of docs/OPERATIONS.md, "Bad input".
-module(input_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([suite/0, all/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-export([
    frames_that_are_no_term_are_protocol_errors/1,
    truncated_terms_are_answered_where_a_tag_can_be_read/1,
    every_cut_of_a_command_is_answered/1,
    every_changed_byte_of_a_command_is_answered/1,
    lengths_that_lie_are_answered/1,
    oversized_frames_are_answered_by_their_head/1,
    oversized_lists_are_told_as_lost/1,
    deep_nesting_is_answered/1,
    compressed_terms_are_refused/1,
    wrong_types_are_answered/1,
    messages_that_are_none_are_protocol_errors/1,
    unknown_messages_are_unimplemented/1,
    wrong_options_name_what_is_allowed/1,
    duplicate_of_a_live_tag_disturbs_nothing/1,
    large_events_in_parts/1,
    commands_in_parts/1,
    oversized_commands_in_parts_are_told_once/1,
    parts_that_never_end_are_bounded/1,
    tag_is_free_after_its_terminal_event/1,
    any_term_is_a_tag/1,
    tag_of_more_than_1024_bytes_is_refused/1,
    credit_and_cancel_for_unknown_tags_are_ignored/1,
    huge_numbers_are_refused/1,
    huge_atoms_are_refused/1,
    names_that_would_be_cut_are_refused/1,
    wrong_message_in_a_list_disturbs_no_other/1,
    hundred_thousand_frames_in_one_write/1,
    one_frame_in_one_byte_writes/1,
    end_of_input_in_mid_frame_ends_the_program/1,
    random_bytes_end_nothing/1
]).

suite() ->
    [{timetrap, {seconds, 30}}].

all() ->
    [Name || {Name, 1} <- ?MODULE:module_info(exports), not lists:member(Name, [init_per_suite, end_per_suite, module_info])].

init_per_suite(Config) ->
    [{worker, port_by_hand:start_worker([])} | Config].

end_per_suite(Config) ->
    port_by_hand:stop_worker(proplists:get_value(worker, Config)).

init_per_testcase(_Case, Config) ->
    P = port_by_hand:open(["--max-frame", "64KiB"]),
    port_by_hand:connect(P, <<"w">>, proplists:get_value(worker, Config)),
    [{port_program, P} | Config].

%% After every case: it still serves.
end_per_testcase(_Case, Config) ->
    P = program(Config),
    serves(P),
    port_by_hand:close(P).

program(Config) ->
    proplists:get_value(port_program, Config).

serves(P) ->
    Tag = port_by_hand:call(P, <<"w">>, <<"echo">>, #{<<"a">> => <<"b">>}),
    {ok, Tag, #{<<"a">> := <<"b">>}, _} = port_by_hand:terminal(P, Tag, 1000).

%%% Terms

frames_that_are_no_term_are_protocol_errors(Config) ->
    P = program(Config),
    [
        begin
            port_by_hand:send_frame(P, Frame),
            #{reason := Reason, offset := Offset} = protocol_error(P),
            ?assert(lists:member(Reason, [bad_version, bad_message, bad_term, compressed])),
            ?assert(Offset =< byte_size(Frame))
        end
     || Frame <- [<<>>, <<0>>, <<131>>, <<"hello">>, <<131, 0>>, <<131, 255, 255, 255, 255>>, <<130, 104, 0>>]
    ].

truncated_terms_are_answered_where_a_tag_can_be_read(Config) ->
    P = program(Config),
    Whole = term_to_binary({execute, tag, any, <<"echo">>, #{<<"a">> => <<"b">>}, #{}}),
    port_by_hand:send_frame(P, binary:part(Whole, 0, byte_size(Whole) - 5)),
    #{code := invalid_argument, reason := bad_term} = stray_error(P, tag).

%% One answer for each cut, of whatever kind: the ping behind it shows that no more came.
every_cut_of_a_command_is_answered(Config) ->
    P = program(Config),
    Whole = term_to_binary({execute, tag, {session, <<"s">>, <<"w">>}, <<"echo">>, #{<<"a">> => <<"b">>}, #{timeout => 5000}}),
    [
        begin
            port_by_hand:send_frame(P, binary:part(Whole, 0, Length)),
            any_answer(P, tag)
        end
     || Length <- lists:seq(0, byte_size(Whole) - 1)
    ].

every_changed_byte_of_a_command_is_answered(Config) ->
    P = program(Config),
    Whole = term_to_binary({connect, tag, <<"x">>, <<"ipv4:127.0.0.1:1">>, #{weight => 3, commands => [<<"a">>]}}),
    [
        begin
            <<Before:At/binary, Byte, After/binary>> = Whole,
            port_by_hand:send_frame(P, [Before, Byte bxor Change, After])
        end
     || At <- lists:seq(0, byte_size(Whole) - 1), Change <- [1, 16#80, 16#ff]
    ],
    %% What they were read as is no matter: that each was read, and the program is as before, is.
    drain_strays(P).

lengths_that_lie_are_answered(Config) ->
    P = program(Config),
    Lies = [
        <<131, 104, 255, 100, 0, 4, "ping">>,
        <<131, 105, 16#ffffffff:32, 100, 0, 4, "ping">>,
        <<131, 104, 2, 119, 4, "ping", 109, 16#7fffffff:32, 1>>,
        <<131, 104, 2, 119, 4, "ping", 108, 16#7fffffff:32, 97, 1, 106>>,
        <<131, 104, 2, 119, 4, "ping", 116, 16#ffffffff:32, 97, 1>>,
        <<131, 104, 2, 119, 4, "ping", 110, 255, 0, 1>>,
        <<131, 104, 2, 119, 4, "ping", 111, 16#ffffffff:32, 0, 1>>,
        <<131, 104, 2, 119, 4, "ping", 118, 16#ffff:16, 1>>,
        <<131, 104, 2, 119, 4, "ping", 112, 16#fffffff0:32, 1>>,
        <<131, 108, 16#ffffffff:32, 104, 0>>
    ],
    [
        begin
            port_by_hand:send_frame(P, Lie),
            #{reason := _} = protocol_error(P)
        end
     || Lie <- Lies
    ].

oversized_frames_are_answered_by_their_head(Config) ->
    P = program(Config),
    Args = #{<<"a">> => binary:copy(<<"x">>, 10_000_000)},
    Before = port_by_hand:rss(port_by_hand:pid(P)),
    [
        begin
            Tag = port_by_hand:call(P, <<"w">>, <<"echo">>, Args),
            Terminal = port_by_hand:terminal(P, Tag, 1000),
            port_by_hand:fails(Terminal, resource_exhausted, mux, too_large)
        end
     || _ <- lists:seq(1, 5)
    ],
    port_by_hand:sanitized() orelse ?assert(port_by_hand:rss(port_by_hand:pid(P)) - Before < 8_000_000).

oversized_lists_are_told_as_lost(Config) ->
    P = program(Config),
    Big = {execute, big, any, <<"echo">>, #{<<"a">> => binary:copy(<<"x">>, 100_000)}, #{}},
    port_by_hand:send_frame(P, term_to_binary([{ping, first}, Big, {ping, last}])),
    #{code := resource_exhausted, reason := too_large} = stray_error(P, first),
    #{reason := too_large} = protocol_error(P).

deep_nesting_is_answered(Config) ->
    P = program(Config),
    Tuples = binary:copy(<<104, 1>>, 20_000),
    port_by_hand:send_frame(P, [<<131>>, Tuples, <<106>>]),
    #{reason := _} = protocol_error(P),
    port_by_hand:send_frame(P, [<<131, 104, 2, 119, 4, "ping">>, Tuples, <<106>>]),
    #{reason := bad_term} = protocol_error(P),
    Deep = lists:foldl(fun(_, Inner) -> [Inner] end, [], lists:seq(1, 200)),
    port_by_hand:send_frame(P, term_to_binary({execute, tag, any, <<"echo">>, #{<<"a">> => Deep}, #{codec => json}})),
    #{code := invalid_argument} = stray_error(P, tag).

compressed_terms_are_refused(Config) ->
    P = program(Config),
    Zeros = #{<<"a">> => binary:copy(<<0>>, 1_000_000)},
    port_by_hand:send_frame(P, term_to_binary({execute, tag, any, <<"echo">>, Zeros, #{}}, [{compressed, 9}])),
    #{reason := compressed} = protocol_error(P).

%%% Messages

wrong_types_are_answered(Config) ->
    P = program(Config),
    [
        begin
            port_by_hand:send_frame(P, term_to_binary(Message)),
            #{code := invalid_argument, message := Text} = stray_error(P, tag),
            ?assert(byte_size(Text) > 10)
        end
     || Message <- [
            {execute, tag},
            {execute, tag, any, <<"echo">>, #{}},
            {execute, tag, any, <<"echo">>, #{}, #{}, more},
            {execute, tag, nowhere, <<"echo">>, #{}, #{}},
            {execute, tag, {worker, w}, <<"echo">>, #{}, #{}},
            {execute, tag, {session, <<>>}, <<"echo">>, #{}, #{}},
            {execute, tag, any, "echo", #{}, #{}},
            {execute, tag, any, <<>>, #{}, #{}},
            {execute, tag, any, <<"echo">>, [], #{}},
            {execute, tag, any, <<"echo">>, #{a => 1}, #{}},
            {execute, tag, any, <<"echo">>, #{<<"a">> => 1.5}, []},
            {connect, tag, <<"x">>, <<"http://example">>, #{}},
            {connect, tag, <<"x">>, <<"ipv4:">>, #{}},
            {connect, tag, binary:copy(<<"x">>, 256), <<"ipv4:1.2.3.4:5">>, #{}},
            {disconnect, tag, <<"w">>, later},
            {disconnect, tag, <<"w">>, {drain, -1}},
            {health, tag, <<"w">>, #{credit => 1}},
            {calls, tag, 0},
            {ping, tag, more},
            {options, tag, #{batch => maybe}}
        ]
    ].

messages_that_are_none_are_protocol_errors(Config) ->
    P = program(Config),
    [
        begin
            port_by_hand:send_frame(P, term_to_binary(Term)),
            #{reason := bad_message} = protocol_error(P)
        end
     || Term <- [ping, 17, <<"ping">>, {}, {ping}, {1, tag}, "ping", #{ping => tag}, [[{ping, tag}]], {credit, x}, {pin, x}]
    ].

unknown_messages_are_unimplemented(Config) ->
    P = program(Config),
    port_by_hand:send_frame(P, term_to_binary({teleport, tag, <<"w">>})),
    #{code := unimplemented, reason := unknown_message} = stray_error(P, tag).

wrong_options_name_what_is_allowed(Config) ->
    P = program(Config),
    [
        begin
            Tag = port_by_hand:call(P, <<"w">>, <<"echo">>, #{}, #{Option => Value}),
            #{message := Text} = port_by_hand:fails(port_by_hand:terminal(P, Tag, 1000), invalid_argument, mux, bad_option),
            ?assertMatch({_, _}, binary:match(Text, atom_to_binary(Option)))
        end
     || {Option, Value} <- [
            {timeout, 0},
            {timeout, -1},
            {timeout, soon},
            {credit, 0},
            {codec, xml},
            {null, undefined},
            {metadata, #{<<"grpc-timeout">> => <<"1S">>}},
            {metadata, #{<<"Upper">> => <<"x">>}},
            {metadata, #{<<"x">> => <<"a\nb">>}},
            {metadata, #{<<"x">> => binary:copy(<<"a">>, 9000)}},
            {wait_for_ready, 1},
            {compression, zstd},
            {no_such_option, 1}
        ]
    ].

%%% Tags

duplicate_of_a_live_tag_disturbs_nothing(Config) ->
    P = program(Config),
    Tag = port_by_hand:stream(P, <<"w">>, <<"count">>, #{<<"count">> => <<"3">>}, #{credit => 1}),
    [_] = port_by_hand:chunks(P, Tag, 1, 1000),
    [
        begin
            port_by_hand:send_frame(P, term_to_binary(Again)),
            #{reason := duplicate_tag} = protocol_error(P)
        end
     || Again <- [
            {execute, Tag, any, <<"echo">>, #{}, #{}},
            {execute, Tag, any, <<"echo">>, #{}, #{no_such_option => 1}},
            {execute_stream, Tag, any, <<"count">>, #{}, #{}},
            {connect, Tag, <<"y">>, <<"ipv4:127.0.0.1:1">>, #{}},
            {disconnect, Tag, <<"w">>, now},
            {health, Tag, <<"w">>, #{}},
            {stats, Tag},
            {ping, Tag},
            {options, Tag, #{batch => true}},
            {teleport, Tag}
        ]
    ],
    port_by_hand:send(P, {credit, Tag, 5}),
    {[_, _], {done, Tag, #{chunks := 3}}} = port_by_hand:collect(P, Tag, 1000).

%% The bytes of a large event, in parts; a small one of another tag comes in between.
large_events_in_parts(Config) ->
    #{port := Port} = program(Config),
    Send = fun(Message) -> true = port_command(Port, term_to_binary(Message)) end,
    Next = fun() -> receive {Port, {data, Frame}} -> binary_to_term(Frame) after 5000 -> error(silence) end end,
    Send({options, options, #{fragment => 10000}}),
    {ok, options, #{fragment := 10000}, _} = Next(),
    Args = #{<<"x">> => binary:copy(<<"x">>, 60000)},
    Send({execute, large, {worker, <<"w">>}, <<"echo">>, Args, #{}}),
    Gather = fun Gather(Bins) ->
        case Next() of
            {part, large, Bin} -> Gather([Bin | Bins]);
            {last, large, Bin} -> lists:reverse(Bins, [Bin])
        end
    end,
    Parts = Gather([]),
    ?assertEqual(7, length(Parts)),
    [?assertEqual(10000, byte_size(Part)) || Part <- lists:droplast(Parts)],
    {ok, large, Args, #{worker := <<"w">>}} = binary_to_term(iolist_to_binary(Parts)),
    Send({options, options, #{fragment => off}}),
    {ok, options, #{fragment := off}, _} = Next(),
    Send({execute, large, {worker, <<"w">>}, <<"echo">>, Args, #{}}),
    {ok, large, Args, _} = Next().

%% Two commands at once, and small ones in between.
commands_in_parts(Config) ->
    P = program(Config),
    Args = fun(Byte) -> #{<<"a">> => binary:copy(<<Byte>>, 30_000)} end,
    Parts = fun(Tag, Byte, Size) -> parts({execute, Tag, {worker, <<"w">>}, <<"echo">>, Args(Byte), #{}}, Size) end,
    Pairs = lists:zip(Parts(one, $1, 7_000), Parts(two, $2, 7_000)),
    [
        begin
            port_by_hand:send(P, [One, Two]),
            pong = port_by_hand:ping(P)
        end
     || {One, Two} <- Pairs
    ],
    {ok, one, One, _} = port_by_hand:terminal(P, one, 1000),
    {ok, two, Two, _} = port_by_hand:terminal(P, two, 1000),
    ?assertEqual({Args($1), Args($2)}, {One, Two}),
    [First | Rest] = Parts(three, $3, 7_000),
    port_by_hand:send(P, [First, {credit, three, 1}, {cancel, three}]),
    port_by_hand:fails(port_by_hand:terminal(P, three, 1000), cancelled, mux, cancelled),
    port_by_hand:send(P, [First | Rest]),
    {ok, three, _, _} = port_by_hand:terminal(P, three, 1000).

oversized_commands_in_parts_are_told_once(Config) ->
    P = program(Config),
    Before = port_by_hand:rss(port_by_hand:pid(P)),
    Parts = parts({execute, tag, any, <<"echo">>, #{<<"a">> => binary:copy(<<"x">>, 50_000_000)}, #{}}, 50_000),
    port_by_hand:send(P, hd(Parts)),
    [port_by_hand:send_frame(P, term_to_binary(Part)) || Part <- tl(Parts)],
    port_by_hand:fails(port_by_hand:terminal(P, tag, 5000), resource_exhausted, mux, too_large),
    pong = port_by_hand:ping(P),
    [] = strays(P),
    port_by_hand:sanitized() orelse ?assert(port_by_hand:rss(port_by_hand:pid(P)) - Before < 8_000_000),
    port_by_hand:send(P, {execute, tag, {worker, <<"w">>}, <<"echo">>, #{}, #{}}),
    {ok, tag, #{}, _} = port_by_hand:terminal(P, tag, 1000).

%% Each tag has its answer, now or when it is cancelled.
parts_that_never_end_are_bounded(Config) ->
    P = program(Config),
    Before = port_by_hand:rss(port_by_hand:pid(P)),
    Each = fun(Message) -> [port_by_hand:send(P, [Message(100 * I + J) || J <- lists:seq(1, 100)]) || I <- lists:seq(0, 999)] end,
    Each(fun(N) -> {part, N, <<131>>} end),
    Refused = errors_until_pong(P),
    ?assertEqual([too_many_parts], lists:usort([Reason || {_, #{reason := Reason}} <- Refused])),
    port_by_hand:sanitized() orelse ?assert(port_by_hand:rss(port_by_hand:pid(P)) - Before < 16_000_000),
    Each(fun(N) -> {cancel, N} end),
    Open = errors_until_pong(P),
    ?assertEqual([{cancelled, false}], lists:usort([{Reason, Sent} || {_, #{reason := Reason, sent := Sent}} <- Open])),
    ?assertEqual(lists:seq(1, 100_000), lists:sort([Tag || {Tag, _} <- Refused ++ Open])),
    %% 128 KiB, and a tag with its byte counts 1,025.
    ?assertEqual(127, length(Open)).

%% A message in parts of so many bytes.
parts(Message, Size) -> pieces(element(2, Message), term_to_binary(Message), Size).

pieces(Tag, Bytes, Size) when byte_size(Bytes) =< Size -> [{last, Tag, Bytes}];
pieces(Tag, Bytes, Size) ->
    <<Part:Size/binary, Rest/binary>> = Bytes,
    [{part, Tag, Part} | pieces(Tag, Rest, Size)].

errors_until_pong(P) ->
    port_by_hand:send(P, {ping, pong}),
    (fun Collect(Errors) ->
        case port_by_hand:take(P, 10_000) of
            {ok, pong, pong, #{}} -> Errors;
            {error, Tag, Error} -> Collect([{Tag, Error} | Errors]);
            {worker, _, _, _} -> Collect(Errors)
        end
    end)([]).

tag_is_free_after_its_terminal_event(Config) ->
    P = program(Config),
    [
        begin
            port_by_hand:send(P, {execute, same, {worker, <<"w">>}, <<"echo">>, #{}, #{}}),
            {ok, same, #{}, _} = port_by_hand:terminal(P, same, 1000)
        end
     || _ <- lists:seq(1, 20)
    ].

%% Compared byte for byte, so 1 and 1.0 are two tags.
any_term_is_a_tag(Config) ->
    P = program(Config),
    Port = open_port({spawn_executable, "/bin/true"}, []),
    Tags = [
        self(), make_ref(), Port, fun erlang:self/0, fun() -> P end, 1, 1.0, -1, 1 bsl 70, 1 bsl 3000, <<1:3>>,
        <<>>, [], [a | b], "string", #{a => [{}]}, {{{{}}}}, 'Ünïcode', '', [1, 300], binary:copy(<<"x">>, 1000)
    ],
    [port_by_hand:send(P, {execute, Tag, {worker, <<"w">>}, <<"echo">>, #{}, #{}}) || Tag <- Tags],
    [{ok, Tag, #{}, _} = port_by_hand:terminal(P, Tag, 2000) || Tag <- Tags].

tag_of_more_than_1024_bytes_is_refused(Config) ->
    P = program(Config),
    Largest = binary:copy(<<"x">>, 1024 - 5),
    port_by_hand:send(P, {ping, Largest}),
    {ok, Largest, pong, #{}} = port_by_hand:terminal(P, Largest, 1000),
    port_by_hand:send_frame(P, term_to_binary({ping, <<Largest/binary, "x">>})),
    #{reason := tag_too_large} = protocol_error(P).

credit_and_cancel_for_unknown_tags_are_ignored(Config) ->
    P = program(Config),
    port_by_hand:send(P, {credit, nobody, 1}),
    port_by_hand:send(P, {credit, nobody, infinity}),
    port_by_hand:send(P, {cancel, nobody}),
    pong = port_by_hand:ping(P),
    [] = strays(P),
    port_by_hand:send(P, {credit, nobody, 0}),
    #{reason := bad_message} = protocol_error(P).

%%% Values

huge_numbers_are_refused(Config) ->
    P = program(Config),
    [
        begin
            Tag = port_by_hand:call(P, <<"w">>, <<"echo">>, #{}, #{timeout => N}),
            port_by_hand:fails(port_by_hand:terminal(P, Tag, 1000), invalid_argument, mux, bad_option)
        end
     || N <- [1 bsl 31, 1 bsl 63, 1 bsl 64, 1 bsl 100_000, -(1 bsl 5000)]
    ],
    [
        begin
            Tag = port_by_hand:call(P, <<"w">>, <<"echo">>, #{n => N}, #{codec => json}),
            port_by_hand:fails(port_by_hand:terminal(P, Tag, 1000), invalid_argument, mux, encode)
        end
     || N <- [1 bsl 64, -(1 bsl 63) - 1, 1 bsl 100_000]
    ].

huge_atoms_are_refused(Config) ->
    P = program(Config),
    Atom = fun(Name) -> <<118, (byte_size(Name)):16, Name/binary>> end,
    port_by_hand:send_frame(P, [<<131, 104, 2>>, Atom(binary:copy(<<"a">>, 60_000)), <<97, 1>>]),
    #{reason := _} = protocol_error(P),
    %% 255 characters of four bytes each, the largest atom that there is, make a tag of 1,023 bytes.
    Largest = binary_to_atom(binary:copy(<<"😀"/utf8>>, 255)),
    port_by_hand:send(P, {ping, Largest}),
    {ok, Largest, pong, #{}} = port_by_hand:terminal(P, Largest, 1000).

names_that_would_be_cut_are_refused(Config) ->
    P = program(Config),
    [
        begin
            port_by_hand:send(P, {execute, tag, To, Command, Args, #{}}),
            port_by_hand:fails(port_by_hand:terminal(P, tag, 1000), invalid_argument, mux, Reason)
        end
     || {To, Command, Args, Reason} <- [
            {any, <<"a\0b">>, #{}, bad_message},
            {any, <<"a", 255>>, #{}, bad_message},
            {any, binary:copy(<<"a">>, 1025), #{}, bad_message},
            {{session, <<"s\0">>}, <<"echo">>, #{}, bad_message},
            {any, <<"echo">>, #{<<"k\0">> => <<>>}, encode},
            {any, <<"echo">>, #{<<"k", 255>> => <<>>}, encode}
        ]
    ].

%%% Streams of bytes

wrong_message_in_a_list_disturbs_no_other(Config) ->
    P = program(Config),
    Good = fun(N) -> {execute, {good, N}, {worker, <<"w">>}, <<"echo">>, #{}, #{}} end,
    Wrong = {execute, wrong, nowhere, <<"echo">>, #{}, #{}},
    port_by_hand:send(P, [Good(1), Wrong, {teleport, unknown}, Good(2)]),
    {error, wrong, #{code := invalid_argument}} = port_by_hand:terminal(P, wrong, 1000),
    {error, unknown, #{code := unimplemented}} = port_by_hand:terminal(P, unknown, 1000),
    [{ok, {good, N}, #{}, _} = port_by_hand:terminal(P, {good, N}, 1000) || N <- [1, 2]].

hundred_thousand_frames_in_one_write(Config) ->
    P = program(Config),
    N = 100_000,
    Pings = [frame({ping, I}) || I <- lists:seq(1, N)],
    {Hello, Events} = feed([Pings, frame({ping, last})], [], 20_000),
    {hello, 1, _} = Hello,
    ?assertEqual([{ok, I, pong, #{}} || I <- lists:seq(1, N)] ++ [{ok, last, pong, #{}}], Events),
    serves(P).

one_frame_in_one_byte_writes(_Config) ->
    Frame = iolist_to_binary([frame({ping, slowly}), frame({ping, last})]),
    {{hello, 1, _}, [{ok, slowly, pong, #{}}, {ok, last, pong, #{}}]} = feed(Frame, ["--one-byte-writes"], 10_000).

%% The half of a frame is forgotten with its writer; what was whole before it is answered.
end_of_input_in_mid_frame_ends_the_program(_Config) ->
    Half = binary:part(iolist_to_binary(frame({ping, half})), 0, 10),
    {{hello, 1, _}, [{ok, whole, pong, #{}}]} = feed([frame({ping, whole}), Half], [], 5_000),
    {{hello, 1, _}, []} = feed([<<16#ffffffff:32>>, Half], [], 5_000),
    {{hello, 1, _}, []} = feed([<<0, 0>>], [], 5_000).

random_bytes_end_nothing(Config) ->
    P = program(Config),
    _ = rand:seed(exsss, 42),
    [
        begin
            Head = lists:nth(1 + N rem 4, [<<>>, <<131>>, <<131, 104, 2>>, <<131, 104, 2, 119, 4, "ping">>]),
            port_by_hand:send_frame(P, [Head, rand:bytes(rand:uniform(200))])
        end
     || N <- lists:seq(1, 5000)
    ],
    drain_strays(P).

%%% Helpers

frame(Term) ->
    Binary = term_to_binary(Term),
    [<<(byte_size(Binary)):32>>, Binary].

%% Bytes as they are, which no {packet, 4} port can write: through test/support/feed.py. The program's events until
%% it ends, which it must do with 0.
feed(Bytes, Args, Timeout) ->
    File = filename:join(["/tmp", lists:concat(["input_SUITE-", os:getpid(), "-", erlang:unique_integer([positive])])]),
    ok = file:write_file(File, Bytes),
    Script = filename:join([port_by_hand:root(), "test", "support", "feed.py"]),
    Task = spawn_monitor(fun() ->
        exit({output, port_by_hand:command(port_by_hand:python(), [Script, File | Args] ++ [port_by_hand:program(), "port"])})
    end),
    {Pid, Monitor} = Task,
    receive
        {'DOWN', Monitor, process, Pid, Reason} ->
            ok = file:delete(File),
            {output, Output} = Reason,
            [Hello | Events] = [binary_to_term(Frame) || <<Size:32, Frame:Size/binary>> <= Output],
            {Hello, Events}
    after Timeout ->
        error({not_within, Timeout})
    end.

protocol_error(P) ->
    {protocol_error, Info} = port_by_hand:await(P, fun(Event) -> element(1, Event) =:= protocol_error end, 1000),
    #{reason := _, message := _, offset := _} = Info.

%% The error of a tag that was sent in a frame which the helper does not know.
stray_error(P, Tag) ->
    {error, Tag, Error} = port_by_hand:await(P, fun(Event) -> element(1, Event) =:= error andalso element(2, Event) =:= Tag end, 1000),
    Error.

any_answer(P, Tag) ->
    port_by_hand:await(
        P,
        fun
            ({protocol_error, _}) -> true;
            ({error, T, _}) -> T =:= Tag;
            (_) -> false
        end,
        1000
    ).

strays(P) ->
    port_by_hand:strays(P).

drain_strays(P) ->
    pong = port_by_hand:ping(P),
    _ = strays(P),
    ok.
