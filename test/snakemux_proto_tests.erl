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

error_test() ->
    ?assertEqual(
        #{code => unavailable, reason => port_down, message => <<"größer"/utf8>>, origin => mux, sent => false, details => #{}},
        snakemux_proto:error(unavailable, port_down, ["grö", <<"ßer"/utf8>>])
    ),
    ?assertMatch(#{sent := true}, snakemux_proto:error(unavailable, port_down, "x", true)).
