%% As much of MessagePack as the old pool needs to ask for an echo and to read the answer.
-module(bench_msgpack).

-export([pack/1, unpack/1]).

-type value() :: non_neg_integer() | binary() | {bin, binary()} | float() | boolean() | null | #{binary() => value()}.

-spec pack(value()) -> iodata().
pack(N) when is_integer(N), N >= 0, N < 128 -> N;
pack({bin, Bytes}) -> [<<16#C6, (byte_size(Bytes)):32>>, Bytes];
pack(Text) when is_binary(Text), byte_size(Text) < 32 -> [16#A0 + byte_size(Text), Text];
pack(Text) when is_binary(Text) -> [<<16#DB, (byte_size(Text)):32>>, Text];
pack(Map) when is_map(Map), map_size(Map) < 16 -> [16#80 + map_size(Map) | [[pack(K), pack(V)] || {K, V} <- maps:to_list(Map)]].

-spec unpack(binary()) -> value().
unpack(Bytes) ->
    {Value, <<>>} = value(Bytes),
    Value.

value(<<0:1, N:7, Rest/binary>>) -> {N, Rest};
value(<<8:4, N:4, Rest/binary>>) -> map(N, Rest, #{});
value(<<5:3, N:5, Text:N/binary, Rest/binary>>) -> {Text, Rest};
value(<<16#D9, N:8, Text:N/binary, Rest/binary>>) -> {Text, Rest};
value(<<16#DA, N:16, Text:N/binary, Rest/binary>>) -> {Text, Rest};
value(<<16#DB, N:32, Text:N/binary, Rest/binary>>) -> {Text, Rest};
value(<<16#C4, N:8, Bytes:N/binary, Rest/binary>>) -> {Bytes, Rest};
value(<<16#C5, N:16, Bytes:N/binary, Rest/binary>>) -> {Bytes, Rest};
value(<<16#C6, N:32, Bytes:N/binary, Rest/binary>>) -> {Bytes, Rest};
value(<<16#CB, Float:64/float, Rest/binary>>) -> {Float, Rest};
value(<<16#C0, Rest/binary>>) -> {null, Rest};
value(<<16#C2, Rest/binary>>) -> {false, Rest};
value(<<16#C3, Rest/binary>>) -> {true, Rest}.

map(0, Rest, Map) -> {Map, Rest};
map(N, Bytes, Map) ->
    {Key, Rest} = value(Bytes),
    {Value, Left} = value(Rest),
    map(N - 1, Left, Map#{Key => Value}).
