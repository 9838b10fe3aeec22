%% For whom the mux makes way, and for how long.
-module(snakemux_patience_tests).
-include_lib("eunit/include/eunit.hrl").

%% Before answers came there is nothing to be patient about.
new_test() ->
    New = snakemux_patience:new(),
    ?assertEqual(New, snakemux_patience:make_way(New)),
    ?assertMatch({_, Until} when is_integer(Until), snakemux_patience:renew(New)).

%% It has waited for 30 ms: for 20 times as long it doesn't wait again, and then it does.
hurry_test() ->
    {_, Until} = Renewed = snakemux_patience:renew(snakemux_patience:new()),
    timer:sleep(30),
    {From, none} = Hurries = snakemux_patience:make_way(Renewed),
    ?assert(From >= Until + 20 * 29_000),
    ?assertEqual(Hurries, snakemux_patience:make_way(Hurries)),
    ?assertEqual(Hurries, snakemux_patience:renew(Hurries)),
    timer:sleep((From - erlang:monotonic_time(microsecond)) div 1000 + 1),
    ?assertMatch({From, Again} when is_integer(Again), snakemux_patience:renew(Hurries)).

%% What the run queue counted for the mux, the caller has executed.
took_turn_test() ->
    {reductions, Before} = process_info(self(), reductions),
    true = snakemux_patience:took_turn(),
    {reductions, After} = process_info(self(), reductions),
    ?assert(After - Before >= 800).
