%% What the project wants to reach, and whether a run did. A report, never a test: machines are noisy.
-module(bench_goals).

-export([judge/2]).

-export_type([verdict/0]).

-type limit() :: {at_least | at_most, number()}.
-type verdict() :: #{text := string(), limit := limit(), values := [number()], reached := boolean() | null}.
%% What is divided by what, for each round, from the turns of these rows in it; or a value from the findings of bench_extra.
-type measure() :: {bench_contestant:work(), [bench_plan:row()], fun(([bench_stats:turn()]) -> {number(), number()})}
                 | fun((fun((atom()) -> number())) -> number()).

%% @doc Without values where the run has not measured it.
-spec judge([bench_stats:result()], [bench_extra:finding()]) -> [verdict()].
judge(Results, Extra) ->
    [verdict(Text, Limit, values(Measure, Results, Extra)) || {Text, Limit, Measure} <- multiplexer() ++ beside_clients() ++ python()].

verdict(Text, Limit, []) ->
    #{text => Text, limit => Limit, values => [], reached => null};
verdict(Text, {Direction, Number} = Limit, Values) ->
    Median = bench_stats:median(Values),
    Reached = case Direction of
        at_least -> Median >= Number;
        at_most -> Median =< Number
    end,
    #{text => Text, limit => Limit, values => Values, reached => Reached}.

values(Fun, _, Extra) when is_function(Fun) ->
    Find = fun(Name) -> {_, _, Value} = lists:keyfind(Name, 1, Extra), Value end,
    case Extra of
        [] -> [];
        _ -> [Fun(Find)]
    end;
values({Work, Rows, Fun}, Results, _) ->
    Found = [[maps:get(Row, Measured) || Row <- Rows]
             || {Same, Turns} <- Results, Same =:= Work, Measured <- [maps:from_list(Turns)],
                lists:all(fun(Row) -> is_map_key(Row, Measured) end, Rows)],
    case Found of
        [] -> [];
        [Columns | _] -> [A / B || {A, B} <- [Fun(Round) || Round <- rounds(Columns)], B > 0] %% 0: the round was too short
    end.

rounds([[] | _]) -> [];
rounds(Columns) -> [[hd(Column) || Column <- Columns] | rounds([tl(Column) || Column <- Columns])].

rate([#{rate := A}, #{rate := B}]) -> {A, B}.

client_cpu([#{client := A}, #{client := B}]) -> {A, B}.

median_latency([#{p50 := A}, #{p50 := B}]) -> {A, B}.

-spec multiplexer() -> [{string(), limit(), measure()}].
multiplexer() ->
    Api = bench_plan:row(api),
    Bare = bench_plan:row(bare),
    Echo = bench_plan:row(echo),
    [{"calls/s, 16 in flight: api of bare", {at_least, 0.65}, {{unary, 16, 16}, [Api, Bare], fun rate/1}},
     {"calls/s, 64 in flight: api of bare", {at_least, 0.75}, {{unary, 64, 16}, [Api, Bare], fun rate/1}},
     {"CPU of the port program a call, 16 in flight, of bare's", {at_most, 1.2}, {{unary, 16, 16}, [Api, Bare], fun client_cpu/1}},
     {"CPU of the port program a call, 64 in flight, of bare's", {at_most, 1.0}, {{unary, 64, 16}, [Api, Bare], fun client_cpu/1}},
     {"one in flight: what the median has beside bare's, in medians of the plain port echo", {at_most, 0.3},
      {{unary, 1, 16}, [Api, Bare, Echo], fun([#{p50 := A}, #{p50 := B}, #{p50 := E}]) -> {A - B, E} end}},
     {"an idle port program: CPU ms in a second", {at_most, 0}, fun(Get) -> Get(idle_cpu_ms) end},
     {"messages/s, chunks of 100 B: api of bare", {at_least, 0.95}, {{stream, 1, 100}, [Api, Bare], fun rate/1}},
     {"MB/s, chunks of 64 KiB: api of a plain port that pushes", {at_least, 0.6}, {{stream, 1, 65536}, [Api, Echo], fun rate/1}},
     {"10,000 open streams: KiB each in the port program", {at_most, 20}, fun(Get) -> Get(stream_memory) / 1024 end},
     {"10,000 calls cancelled: s", {at_most, 1}, fun(Get) -> Get(cancel_ms) / 1000 end},
     {"small calls beside 64 MiB replies: median, of what it is alone", {at_most, 3},
      fun(Get) -> Get(beside_p50_us) / Get(alone_p50_us) end},
     {"small calls beside 64 MiB replies: p99, ms", {at_most, 10}, fun(Get) -> Get(beside_p99_us) / 1000 end}].

%% gRPC clients in Erlang and Elixir, on an equal machine over TCP, beside this bare client there (16 B echo at 16 and 64 in flight:
%% 68,500 and about 57,500 calls/s with 14 us each; 64 KiB chunks: 2,900 MB/s). The best of them had 19,400 and 12,100 calls/s, 250 MB/s
%% and 110 us. They are not here, so the goal is what so many times theirs is of the bare client's.
-spec beside_clients() -> [{string(), limit(), measure()}].
beside_clients() ->
    Rows = [bench_plan:row(Name, #{transport => tcp}) || Name <- [api, bare]],
    [{"TCP, calls/s, 16 in flight: api of bare (2.2 times the best Erlang client)", {at_least, 2.2 * 19400 / 68500},
      {{unary, 16, 16}, Rows, fun rate/1}},
     {"TCP, calls/s, 64 in flight: api of bare (4 times the best Erlang client)", {at_least, 4 * 12100 / 57500},
      {{unary, 64, 16}, Rows, fun rate/1}},
     {"TCP, messages/s, chunks of 100 B: api of bare", {at_least, 0.95}, {{stream, 1, 100}, Rows, fun rate/1}},
     {"TCP, MB/s, chunks of 64 KiB: api of bare (4 times the best Erlang client)", {at_least, 4 * 250 / 2900},
      {{stream, 1, 65536}, Rows, fun rate/1}},
     {"TCP, CPU a call of BEAM and port, 16 in flight, of bare's (a third of the best Erlang client)",
      {at_most, 110 / 3 / 14},
      {{unary, 16, 16}, Rows, fun([#{client := A, beam := Beam}, #{client := B}]) -> {A + Beam, B} end}}].

-spec python() -> [{string(), limit(), measure()}].
python() ->
    [Native, Product] = [bench_plan:row(Name, #{worker => native}) || Name <- [bare, terms]],
    Aio = bench_plan:row(bare, #{worker => aio}),
    Threaded = bench_plan:row(bare, #{worker => threaded}),
    Pool = bench_plan:row(pool_msgpack),
    Pool4 = bench_plan:row(pool_msgpack, #{workers => 4}),
    MiB = 1048576,
    [{"Python, calls/s, 16 in flight: native server of grpc.aio", {at_least, 4}, {{unary, 16, 16}, [Native, Aio], fun rate/1}},
     {"Python, calls/s, 64 in flight: native server of grpc.aio", {at_least, 4}, {{unary, 64, 16}, [Native, Aio], fun rate/1}},
     {"Python, calls/s, 16 in flight: native server of the old pipe", {at_least, 2}, {{unary, 16, 16}, [Native, Pool], fun rate/1}},
     {"Python, calls/s, 64 in flight: native server of the old pipe", {at_least, 2}, {{unary, 64, 16}, [Native, Pool], fun rate/1}},
     {"Python, one in flight: median through snakemux, of the old pipe's", {at_most, 1.5},
      {{unary, 1, 16}, [Product, Pool], fun median_latency/1}},
     {"Python, calls/s, 16 callers: through snakemux, of the old pipe with four workers", {at_least, 2.5},
      {{unary, 16, 16}, [Product, Pool4], fun rate/1}},
     {"Python, messages/s: native server of grpcio", {at_least, 5}, {{stream, 1, 100}, [Native, Threaded], fun rate/1}},
     {"Python, 1 MiB echo: native server of the old pipe's worker", {at_least, 1}, {{unary, 1, MiB}, [Native, Pool], fun rate/1}},
     {"Python, 1 MiB echo: native server of the old pipe's worker without a pool", {at_least, 1},
      {{unary, 1, MiB}, [Native, bench_plan:row(old_direct)], fun rate/1}},
     {"Python, 1 MiB echo, one caller: through snakemux, of the old pipe", {at_least, 0.7}, {{unary, 1, MiB}, [Product, Pool], fun rate/1}},
     {"Python, 1 MiB echo, 16 callers: through snakemux, of the old pipe", {at_least, 1}, {{unary, 16, MiB}, [Product, Pool], fun rate/1}}].
