%% JSON from maps, lists, numbers, atoms and binaries. OTP has none before 27.
-module(bench_json).

-export([encode/1]).

-spec encode(term()) -> binary().
encode(Term) -> unicode:characters_to_binary(text(Term)).

text(Map) when is_map(Map) ->
    [${, lists:join(",\n", [[text(Key), ": ", text(Value)] || {Key, Value} <- maps:to_list(Map)]), $}];
text(Number) when is_integer(Number) -> integer_to_list(Number);
text(Number) when is_float(Number) -> io_lib:format("~.3f", [Number]);
text(Atom) when Atom =:= true; Atom =:= false; Atom =:= null -> atom_to_list(Atom);
text(Atom) when is_atom(Atom) -> text(atom_to_binary(Atom));
text(Text) when is_binary(Text) -> [$", [escape(C) || C <- unicode:characters_to_list(Text)], $"];
text(List) when is_list(List) -> [$[, lists:join(", ", [text(Item) || Item <- List]), $]].

escape($") -> "\\\"";
escape($\\) -> "\\\\";
escape(C) -> [C].
