%% Figures as a table and as JSON. Knows nothing of how they came about.
-module(bench_report).

-export([head/1, table/1, json/3]).

-type turn() :: #{rate := float(), p50 := number(), p99 := number(), client := float(), beam := float(), worker := float()}.
-type results() :: {bench_contestant:work(), [{Contestant :: atom(), [turn()]}]}.

-spec head(map()) -> iolist().
head(#{transport := Transport, worker := Worker, workers := Workers, rounds := Rounds, ms := Ms}) ->
    #{cpu := Cpu, cores := Cores, kernel := Kernel, otp := Otp} = machine(),
    io_lib:format("~ts, ~b cores, Linux ~ts, OTP ~ts~n~b ~ts worker(s), ~ts, ~b rounds of ~b ms in turns; medians, (lowest..highest)~n"
                  "CPU in us per call or message; client is the bare client or the port program~n",
                  [Cpu, Cores, Kernel, Otp, Workers, Worker, transport(Transport), Rounds, Ms]).

transport(unix) -> "unix socket";
transport(tcp) -> "TCP loopback".

-spec table(results()) -> iolist().
table({Work, Contestants}) ->
    Bare = proplists:get_value(bare, Contestants, []),
    [title(Work), $\n, io_lib:format("  ~-9s~11s ~-19s~9s~9s~8s~8s~8s  ~s~n",
                                     ["", unit(Work), "", "p50 us", "p99 us", "client", "BEAM", "worker", "of bare"]),
     [row(Work, Name, Turns, Bare) || {Name, Turns} <- Contestants]].

title({unary, N, Size}) -> io_lib:format("unary echo, ~ts, ~b in flight", [bytes(Size), N]);
title({stream, 1, Size}) -> io_lib:format("one stream, chunks of ~ts", [bytes(Size)]);
title({stream, N, Size}) -> io_lib:format("~b streams, chunks of ~ts", [N, bytes(Size)]).

bytes(N) when N >= 1048576 -> io_lib:format("~b MiB", [N div 1048576]);
bytes(N) when N >= 1024 -> io_lib:format("~b KiB", [N div 1024]);
bytes(N) -> io_lib:format("~b B", [N]).

unit({unary, _, _}) -> "calls/s";
unit({stream, _, Size}) when Size >= 4096 -> "MB/s";
unit({stream, _, _}) -> "messages/s".

scale({stream, _, Size}) when Size >= 4096 -> Size / 1.0e6;
scale(_) -> 1.

row(Work, Name, Turns, Bare) ->
    Rates = [Rate * scale(Work) || #{rate := Rate} <- Turns],
    io_lib:format("  ~-9s~11s ~-19s~9s~9s~8s~8s~8s  ~ts~n",
                  [Name, whole(median(Rates)), ["(", whole(lists:min(Rates)), "..", whole(lists:max(Rates)), ")"],
                   latency(p50, Turns), latency(p99, Turns), figure(client, Turns),
                   case lists:member(Name, [bare, tuned]) of true -> "-"; false -> figure(beam, Turns) end,
                   figure(worker, Turns), ratio(Turns, Bare)]).

latency(Key, Turns) ->
    case median(values(Key, Turns)) of
        N when N > 0 -> whole(N);
        _ -> "-"
    end.

figure(Key, Turns) -> one_digit(median(values(Key, Turns))).

values(Key, Turns) -> [maps:get(Key, Turn) || Turn <- Turns].

%% Each round against the bare client of the same round.
ratio(_, []) -> "";
ratio(Turns, Bare) ->
    Ratios = lists:zipwith(fun(#{rate := A}, #{rate := B}) -> A / max(1.0, B) end, Turns, Bare),
    io_lib:format("~.2f (~.2f..~.2f)", [median(Ratios) * 1.0, lists:min(Ratios) * 1.0, lists:max(Ratios) * 1.0]).

median(Values) ->
    Sorted = lists:sort(Values),
    Half = length(Sorted) div 2,
    case length(Sorted) rem 2 of
        1 -> lists:nth(Half + 1, Sorted);
        0 -> (lists:nth(Half, Sorted) + lists:nth(Half + 1, Sorted)) / 2
    end.

whole(Number) -> integer_to_list(round(Number)).

one_digit(Number) -> io_lib:format("~.1f", [Number * 1.0]).

machine() ->
    #{cpu => cpu_name(file:read_file("/proc/cpuinfo")),
      cores => erlang:system_info(logical_processors_available),
      kernel => string:trim(os:cmd("uname -r")),
      otp => erlang:system_info(otp_release),
      erl_flags => os:getenv("BENCH_ERL_FLAGS", "")}.

cpu_name({ok, Text}) ->
    case re:run(Text, "model name\\s*: (.*)", [{capture, all_but_first, list}]) of
        {match, [Name]} -> Name;
        nomatch -> "unknown processor"
    end;
cpu_name({error, _}) -> "unknown processor".

-spec json(map(), [results()], [{atom(), iodata(), number()}]) -> iolist().
json(Options, Results, Extra) ->
    encode(#{machine => maps:map(fun(_, Value) -> text(Value) end, machine()), options => maps:with([transport, worker, workers, rounds, ms, set], Options),
             extra => maps:from_list([{Name, Value} || {Name, _, Value} <- Extra]),
             date => text(calendar:system_time_to_rfc3339(erlang:system_time(second))),
             works => [#{kind => Kind, in_flight => InFlight, size => Size,
                         contestants => maps:from_list([{Name, columns(Turns)} || {Name, Turns} <- Contestants])}
                       || {{Kind, InFlight, Size}, Contestants} <- Results]}).

text(Value) when is_list(Value) -> unicode:characters_to_binary(Value);
text(Value) -> Value.

columns(Turns) -> maps:from_list([{Key, values(Key, Turns)} || Key <- [rate, p50, p99, client, beam, worker]]).

encode(Map) when is_map(Map) ->
    [${, lists:join(",\n", [[encode(Key), ": ", encode(Value)] || {Key, Value} <- maps:to_list(Map)]), $}];
encode(Number) when is_integer(Number) -> integer_to_list(Number);
encode(Number) when is_float(Number) -> io_lib:format("~.3f", [Number]);
encode(Atom) when is_atom(Atom) -> encode(atom_to_binary(Atom));
encode(Text) when is_binary(Text) -> [$", [escape(C) || C <- unicode:characters_to_list(Text)], $"];
encode(List) when is_list(List) -> [$[, lists:join(", ", [encode(Item) || Item <- List]), $]].

escape($") -> "\\\"";
escape($\\) -> "\\\\";
escape(C) -> [C].
