%% The calls that the mux has been handed.
-module(snakemux_handed_tests).
-include_lib("eunit/include/eunit.hrl").

calls_test() ->
    None = snakemux_handed:new(),
    [] = snakemux_handed:tags(None),
    error = snakemux_handed:take(1, None),
    First = snakemux_handed:add({7, 1}, self(), undefined, None),
    Three = snakemux_handed:add({8, 3}, self(), <<"s">>, snakemux_handed:add({7, 2}, self(), <<"s">>, First)),
    ?assertEqual([{7, 1}, {7, 2}, {8, 3}], lists:sort(snakemux_handed:tags(Three))),
    ?assertEqual([{7, 1}, {7, 2}], lists:sort(snakemux_handed:tags(7, Three))),
    ?assertEqual([<<"s">>], snakemux_handed:sessions(Three)),
    {Self, <<"s">>, Two} = snakemux_handed:take(2, Three),
    ?assertEqual(self(), Self),
    error = snakemux_handed:take(2, Two),
    ?assertEqual([{7, 1}], snakemux_handed:tags(7, Two)),
    {_, undefined, _} = snakemux_handed:take(1, Two).
