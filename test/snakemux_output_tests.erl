%% What workers print.
-module(snakemux_output_tests).
-include_lib("eunit/include/eunit.hrl").

said(Chunks) ->
    Output = lists:foldl(fun snakemux_output:add/2, snakemux_output:new(<<"w">>), Chunks),
    said_by(Output).

said_by(Output) -> iolist_to_binary(snakemux_output:last_words(#{kind => exec}, Output)).

lines_test() ->
    ?assertEqual(<<>>, said([])),
    ?assertEqual(<<"; its last output:\n  | one\n  | two">>, said([<<"on">>, <<"e\ntw">>, <<"o">>])),
    ?assertEqual(<<"; its last output:\n  | one\n  | ">>, said([<<"one\n\n">>])).

twenty_test() ->
    Said = said([<<(integer_to_binary(N))/binary, "\n">> || N <- lists:seq(1, 50)]),
    ?assertEqual([integer_to_binary(N) || N <- lists:seq(31, 50)], tl(binary:split(Said, <<"\n  | ">>, [global]))).

no_text_test() ->
    Said = said([<<"caf", 16#e9, "\n">>]),
    ?assertEqual(<<"; its last output:\n  | café"/utf8>>, Said).

%% A line without an end is cut; megabytes cost nothing, and the last of them are kept.
flood_test() ->
    Output = lists:foldl(
        fun(_, O) -> snakemux_output:add(binary:copy(<<"y\n">>, 50000), O) end, snakemux_output:new(<<"w">>), lists:seq(1, 100)
    ),
    ?assertNot(snakemux_output:is_fresh(Output)),
    ?assert(erts_debug:flat_size(Output) < 10000),
    Last = snakemux_output:add(<<"the end">>, Output),
    ?assert(lists:suffix("\n  | the end", binary_to_list(said_by(Last)))),
    ?assert(lists:suffix("\n  | the end", binary_to_list(said_by(snakemux_output:refill(Last))))).

hint_test() ->
    Output = snakemux_output:add(<<"ModuleNotFoundError: No module named 'grpc'\n">>, snakemux_output:new(<<"w">>)),
    Words = snakemux_output:last_words(#{kind => python, argv => ["/opt/py"]}, Output),
    ?assertNotEqual(nomatch, string:find(Words, "/opt/py -m pip install grpcio")).
