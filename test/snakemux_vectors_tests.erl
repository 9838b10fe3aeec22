%% The golden frames of test/vectors: what Erlang reads in them is what they say. The C tests read the same file.
-module(snakemux_vectors_tests).

-include_lib("eunit/include/eunit.hrl").

vectors_test_() ->
    [{atom_to_list(Name), ?_assertEqual(Term, binary_to_term(Frame))} || {Name, Term, Frame} <- vectors()].

names_are_unique_test() ->
    Names = [Name || {Name, _, _} <- vectors()],
    ?assertEqual(lists:usort(Names), lists:sort(Names)).

vectors() ->
    {ok, Entries} = file:consult(filename:join([snakemux_test_tools:root(), "test", "vectors", "protocol.terms"])),
    [vector(Entry) || Entry <- Entries].

vector({Name, event, Term, Hex}) -> {Name, Term, frame(Hex)};
vector({Name, Direction, Term, _Text, Hex}) when Direction =:= command; Direction =:= refused ->
    {Name, Term, frame(Hex)}.

frame(Hex) -> binary:decode_hex(list_to_binary(Hex)).
