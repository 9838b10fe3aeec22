%% Events that come in parts.
-module(snakemux_parts_tests).
-include_lib("eunit/include/eunit.hrl").

parts(Event, Size) ->
    Tag = element(2, Event),
    {Bins, [Last]} = lists:split(byte_size(term_to_binary(Event)) div Size, cut(term_to_binary(Event), Size)),
    [{part, Tag, Bin} || Bin <- Bins] ++ [{last, Tag, Last}].

cut(Bin, Size) when byte_size(Bin) =< Size -> [Bin];
cut(Bin, Size) -> <<First:Size/binary, Rest/binary>> = Bin, [First | cut(Rest, Size)].

take(Event, Parts) -> snakemux_parts:take(Event, key, Parts).

later(Events, Parts) -> lists:foldl(fun(Event, P) -> {later, Next} = take(Event, P), Next end, Parts, Events).

decoded(Tag) -> receive {decoded, key, Tag, Event} -> Event after 5000 -> error(nothing) end.

%% What comes under the same tag keeps its place, whatever it is; other tags go on.
order_test() ->
    Chunk = {chunk, 1, binary:copy(<<"x">>, 100)},
    Other = {chunk, 2, binary:copy(<<"y">>, 100)},
    P1 = later(parts(Chunk, 7), snakemux_parts:new()),
    Behind = parts(Chunk, 50) ++ [{chunk, 1, small}, {done, 1, #{}}],
    P2 = later(Behind, P1),
    {now, P2} = take({chunk, 3, small}, P2),
    P3 = later(parts(Other, 9), P2),
    ?assertEqual(Chunk, decoded(1)),
    ?assertEqual(Other, decoded(2)),
    {Waiting, P4} = snakemux_parts:decoded(1, P3),
    ?assertEqual(Behind, Waiting),
    {[], P5} = snakemux_parts:decoded(2, P4),
    ?assertEqual(snakemux_parts:new(), P5).

%% The port program has dropped the rest: another event of the tag says so.
dropped_test() ->
    [Part | _] = parts({ok, 1, binary:copy(<<"x">>, 100)}, 20),
    {later, Parts} = take(Part, snakemux_parts:new()),
    Empty = snakemux_parts:new(),
    {now, Empty} = take({error, 1, #{}}, Parts).

nonsense_test() ->
    P = later([{part, 1, <<131>>}, {last, 1, <<"?">>}], snakemux_parts:new()),
    ?assertEqual(error, decoded(1)),
    {[], _} = snakemux_parts:decoded(1, P).
