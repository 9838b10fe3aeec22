%% The terms of the protocol.
-module(snakemux_proto_tests).
-include_lib("eunit/include/eunit.hrl").

target_test() ->
    ?assertEqual(any, snakemux_proto:target(#{})),
    ?assertEqual({worker, <<"w">>}, snakemux_proto:target(#{worker => <<"w">>})),
    ?assertEqual({session, <<"s">>}, snakemux_proto:target(#{session => <<"s">>})),
    ?assertEqual({session, <<"s">>, <<"w">>}, snakemux_proto:target(#{session => <<"s">>, worker => <<"w">>})).

call_options_test() ->
    ?assertEqual(#{codec => terms}, snakemux_proto:call_options(#{})),
    ?assertEqual(#{codec => raw, timeout => 1}, snakemux_proto:call_options(#{codec => raw, timeout => 1, session => <<"s">>, worker => <<"w">>})).

frames_test() ->
    Frame = iolist_to_binary(snakemux_proto:encode({ping, 1})),
    ?assertEqual([{ping, 1}], snakemux_proto:decode(Frame)),
    ?assertEqual([{a, 1}, {b, 2}], snakemux_proto:decode(term_to_binary([{a, 1}, {b, 2}]))),
    ?assertError(badarg, snakemux_proto:decode(<<"what">>)).

%% The bytes of parts, and the one large binary of an event, are not copied out of where they came.
large_test() ->
    Bytes = binary:copy(<<"x">>, 1000),
    [begin
        Frame = term_to_binary(Event, [{minor_version, 2}]), %% atoms as the port program writes them
        ?assertEqual([Event], snakemux_proto:decode(Frame)),
        ?assertEqual([Event], snakemux_proto:decode_large(Frame))
    end || Event <- [{part, {1, 70000}, Bytes}, {last, {mux, <<"tag">>}, <<>>}, {ok, {1, 2}, #{<<"k">> => Bytes}, #{}},
        {ok, {1, 2}, #{<<"k">> => Bytes}, #{chunks => 1}}, {ok, {1, 2}, #{<<"a">> => Bytes, <<"b">> => 1}, #{}},
        {chunk, {1, 1 bsl 40}, #{<<"k">> => Bytes}}, {chunk, {1, 2}, #{<<"k">> => [Bytes]}}, {done, {1, 2}, #{}}]],
    [{part, _, Part}] = snakemux_proto:decode(term_to_binary({part, {1, 2}, Bytes}, [{minor_version, 2}])),
    ?assert(binary:referenced_byte_size(Part) > 1000),
    [{chunk, _, #{<<"k">> := Value}}] =
        snakemux_proto:decode_large(term_to_binary({chunk, {1, 2}, #{<<"k">> => Bytes}}, [{minor_version, 2}])),
    ?assert(binary:referenced_byte_size(Value) > 1000),
    ?assertError(badarg, snakemux_proto:decode(<<131, 104, 3, 119, 4, "part", 97, 1, 109, 9:32, "short">>)).

error_test() ->
    ?assertEqual(
        #{code => unavailable, reason => port_down, message => <<"größer"/utf8>>, origin => mux, sent => false, details => #{}},
        snakemux_proto:error(unavailable, port_down, ["grö", <<"ßer"/utf8>>])
    ),
    ?assertMatch(#{sent := true}, snakemux_proto:error(unavailable, port_down, "x", true)).
