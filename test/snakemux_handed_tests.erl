%% The calls that the mux has been handed.
-module(snakemux_handed_tests).
-include_lib("eunit/include/eunit.hrl").

calls_test() ->
    None = snakemux_handed:new(),
    ?assert(snakemux_handed:is_empty(None)),
    error = snakemux_handed:take({7, 1}, None),
    {[], None} = snakemux_handed:drop(7, None),
    Two = snakemux_handed:add({8, 3}, self(), <<"s">>, snakemux_handed:add({7, 1}, self(), undefined, None)),
    ?assertNot(snakemux_handed:is_empty(Two)),
    ?assertEqual([{7, 1}, {8, 3}], lists:sort(snakemux_handed:tags(Two))),
    ?assertEqual([<<"s">>], snakemux_handed:sessions(Two)),
    %% Of another call of that caller, one that it doesn't wait for.
    error = snakemux_handed:take({8, 2}, Two),
    {Self, <<"s">>, One} = snakemux_handed:take({8, 3}, Two),
    ?assertEqual(self(), Self),
    error = snakemux_handed:take({8, 3}, One),
    ?assertEqual([{7, 1}], snakemux_handed:tags(One)),
    ?assertEqual([], snakemux_handed:sessions(One)),
    ?assertEqual({[{7, 1}], None}, snakemux_handed:drop(7, One)).
