%% The codecs against the mapping as it is documented, written down once more in Erlang.
-module(snakemux_codec_tests).

-include_lib("proper/include/proper.hrl").
-include_lib("eunit/include/eunit.hrl").

-define(COUNT, 1000).

json_test_() -> property(json).
msgpack_test_() -> property(msgpack).

property(Codec) ->
    {timeout, 120, fun() ->
        Port = snakemux_test_tools:open(snakemux_test_tools:codec_port()),
        Holds = snakemux_test_tools:check(prop_round_trip(Port, Codec), ?COUNT),
        erlang:port_close(Port),
        ?assert(Holds)
    end}.

%% What comes back is what the mapping says; where it says that a term can't be sent, the answer is an error.
prop_round_trip(Port, Codec) ->
    ?FORALL(Args, args(), begin
        Found = round_trip(Port, Codec, Args),
        Wanted =
            try
                {ok, map_value(Codec, Args)}
            catch
                throw:Path -> {error, Path}
            end,
        ?WHENFAIL(io:format("found ~0p~nwanted ~0p~n", [Found, Wanted]), agree(Found, Wanted))
    end).

agree({ok, Found}, {ok, Wanted}) -> Found =:= Wanted;
agree({error, <<"args", _/binary>>}, {error, _}) -> true;
agree(_, _) -> false.

round_trip(Port, Codec, Args) ->
    Letter =
        case Codec of
            json -> $j;
            msgpack -> $m
        end,
    true = erlang:port_command(Port, [$r, Letter, term_to_binary(Args)]),
    receive
        {Port, {data, <<1, Term/binary>>}} -> {ok, binary_to_term(Term)};
        {Port, {data, <<0, Message/binary>>}} -> {error, Message};
        {Port, Other} -> Other
    end.

map_value(_, Null) when Null =:= nil; Null =:= null; Null =:= undefined -> null;
map_value(_, Boolean) when is_boolean(Boolean) -> Boolean;
map_value(_, Atom) when is_atom(Atom) -> atom_to_binary(Atom);
map_value(_, Integer) when is_integer(Integer), Integer >= -(1 bsl 63), Integer < 1 bsl 64 -> Integer;
map_value(_, Float) when is_float(Float) -> Float;
map_value(_, Binary) when is_binary(Binary) -> text(Binary);
map_value(msgpack, {bin, Binary}) when is_binary(Binary) -> Binary;
map_value(msgpack, {tensor, Type, Shape, Data}) when is_list(Shape) -> tensor(Type, Shape, Data);
map_value(msgpack, #{'__struct__' := 'Elixir.Snakemux.Tensor', type := Type, shape := Shape, data := Data}) ->
    tensor(Type, tuple_to_list(Shape), Data);
map_value(Codec, List) when is_list(List) -> map_list(Codec, List);
map_value(_, #{'__struct__' := _}) -> throw(struct);
map_value(Codec, Map) when is_map(Map) ->
    Mapped = maps:from_list([{map_key(Key), map_value(Codec, Value)} || {Key, Value} <- maps:to_list(Map)]),
    case map_size(Mapped) =:= map_size(Map) of
        true -> Mapped;
        false -> throw(collision)
    end;
map_value(_, Other) ->
    throw(Other).

tensor({Kind, Bits}, Shape, Data) ->
    Known = lists:member({Kind, Bits}, types()),
    Known andalso byte_size(Data) * 8 =:= lists:foldl(fun erlang:'*'/2, Bits, Shape) orelse throw(tensor),
    {tensor, {Kind, Bits}, Shape, Data}.

types() ->
    [{Kind, Bits} || Kind <- [s, u], Bits <- [8, 16, 32, 64]] ++ [{f, 16}, {f, 32}, {f, 64}, {c, 64}, {c, 128}].

map_list(_, []) -> [];
map_list(Codec, [Value | Rest]) -> [map_value(Codec, Value) | map_list(Codec, Rest)];
map_list(_, Tail) -> throw(Tail).

map_key(Key) when is_atom(Key) -> atom_to_binary(Key);
map_key(Key) when is_integer(Key) -> integer_to_binary(Key);
map_key(Key) when is_binary(Key) -> text(Key);
map_key(Key) -> throw(Key).

text(Binary) ->
    case unicode:characters_to_binary(Binary) of
        Binary -> Binary;
        _ -> throw(Binary)
    end.

%% The names of arguments have no NUL: protobuf-c ends a string there.
args() -> ?LET(Pairs, list({argument(), value()}), maps:from_list(Pairs)).

argument() -> oneof([oneof([a, b, c]), oneof([<<"a">>, <<"b">>, <<"é"/utf8>>, <<>>]), oneof([0, -1, 7])]).

value() -> ?SIZED(Size, value(Size)).

value(0) -> scalar();
value(Size) ->
    Smaller = Size div 3,
    frequency([
        {4, scalar()},
        {2, list(value(Smaller))},
        {2, ?LET(Pairs, list({key(), value(Smaller)}), maps:from_list(Pairs))},
        {1, list(byte())}
    ]).

scalar() ->
    frequency([
        {3, integer()},
        {3, wide_integer()},
        {3, float()},
        {4, text()},
        {3, oneof([true, false, nil, null, undefined, an_atom, 'é', ''])},
        {1, ?LET(Binary, binary(), {bin, Binary})},
        {1, a_tensor()},
        {1, oneof([{}, {a, b}, self(), make_ref(), <<1:3>>, [a | b], 1 bsl 64, -(1 bsl 63) - 1, <<255>>])}
    ]).

%% A few have a byte too many, or numbers that NumPy has not.
a_tensor() ->
    Type = frequency([{40, oneof(types())}, {1, oneof([{bf, 16}, {f, 8}, {s, 4}])}]),
    Shape = resize(5, list(frequency([{9, range(1, 4)}, {1, 0}]))),
    ?LET({{Kind, Bits}, Dimensions, Excess, Form}, {Type, Shape, frequency([{20, 0}, {1, 1}]), oneof([tuple, struct])}, begin
        Size = lists:foldl(fun erlang:'*'/2, Bits div 8, Dimensions) + Excess,
        Data = binary:part(binary:copy(<<0, 1, 127, 128, 255>>, Size div 5 + 1), 0, Size),
        tensor_term(Form, {Kind, Bits}, Dimensions, Data)
    end).

tensor_term(tuple, Type, Shape, Data) -> {tensor, Type, Shape, Data};
tensor_term(struct, Type, Shape, Data) ->
    #{'__struct__' => 'Elixir.Snakemux.Tensor', type => Type, shape => list_to_tuple(Shape), data => Data}.

text() ->
    Character = frequency([{4, range(0, 127)}, {1, range(128, 16#D7FF)}, {1, range(16#E000, 16#10FFFF)}]),
    ?LET(Characters, list(Character), unicode:characters_to_binary(Characters)).

wide_integer() ->
    ?LET({Shift, Sign, Offset}, {range(0, 64), oneof([1, -1]), range(-2, 2)}, Sign * (1 bsl Shift) + Offset).

key() -> frequency([{4, text()}, {2, oneof([a, b, '__struct__', nil, true])}, {2, integer()}, {1, oneof([1.5, <<255>>])}]).
