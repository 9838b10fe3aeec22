%% Figures as tables and as data. Knows nothing of how they came about.
-module(bench_report).

-export([machine/0, head/1, title/1, table/1, goals/1, data/4]).

-spec head(map()) -> iolist().
head(#{rounds := Rounds, ms := Ms, machine := Machine}) ->
    #{cpu := Cpu, cores := Cores, memory_gib := Memory, kernel := Kernel, otp := Otp, erl_flags := Flags, load := Load} = Machine,
    io_lib:format("~ts, ~b cores, ~b GiB, Linux ~ts, OTP ~ts ~ts~nload average before: ~ts~n~b rounds of ~b ms in turns; medians, (lowest..highest)~n"
                  "CPU in us per call or message; client is the bare client or the port program~n",
                  [Cpu, Cores, Memory, Kernel, Otp, Flags, Load, Rounds, Ms]).

-spec title(string()) -> iolist().
title(Title) -> [Title, $\n, lists:duplicate(length(Title), $=)].

-define(COLUMNS, "  ~-22ts~-6ts~11ts ~-19ts~9ts~9ts~8ts~8ts~8ts  ~ts~n").

-spec table(bench_stats:result()) -> iolist().
table({Work, [{First, Turns} | _] = Rows}) ->
    [work(Work), workers(First), $\n,
     io_lib:format(?COLUMNS, ["", "over", unit(Work), "", "p50 us", "p99 us", "client", "BEAM", "worker", "of the first"]),
     [row(Work, Row, RowTurns, Turns) || {Row, RowTurns} <- Rows]].

work({unary, N, Size}) -> io_lib:format("unary echo, ~ts, ~b in flight", [bytes(Size), N]);
work({stream, 1, Size}) -> io_lib:format("one stream, chunks of ~ts", [bytes(Size)]);
work({stream, N, Size}) -> io_lib:format("~b streams, chunks of ~ts", [N, bytes(Size)]).

workers(#{workers := 1}) -> "";
workers(#{workers := N}) -> io_lib:format(", ~b workers", [N]).

bytes(N) when N >= 1048576 -> io_lib:format("~b MiB", [N div 1048576]);
bytes(N) when N >= 1024 -> io_lib:format("~b KiB", [N div 1024]);
bytes(N) -> io_lib:format("~b B", [N]).

unit({unary, _, _}) -> "calls/s";
unit({stream, _, Size}) when Size >= 4096 -> "MB/s";
unit({stream, _, _}) -> "messages/s".

row(Work, #{transport := Transport} = Row, Turns, First) ->
    Rates = bench_stats:scaled(Work, Turns),
    io_lib:format(?COLUMNS,
                  [label(Row), atom_to_list(Transport), whole(bench_stats:median(Rates)), range(fun whole/1, Rates),
                   latency(p50, Turns), latency(p99, Turns), cpu(client, Turns),
                   case has_beam(Row) of true -> cpu(beam, Turns); false -> "-" end, cpu(worker, Turns), ratio(Turns, First)]).

%% The others are C programs, which the BEAM only starts.
has_beam(#{name := Name}) -> not lists:member(Name, [bare, tuned, old_direct, floor]).

label(#{name := Name, worker := Worker, workers := Count, flags := Flags}) ->
    [atom_to_list(Name),
     case Worker of none -> ""; c -> ""; _ -> [" ", atom_to_list(Worker)] end,
     case Count of 1 -> ""; _ -> io_lib:format(" x~b", [Count]) end,
     case Flags of "" -> ""; _ -> [" ", lists:join(" ", lists:sublist(string:lexemes(Flags, " "), 2))] end].

latency(Key, Turns) ->
    case bench_stats:median(bench_stats:values(Key, Turns)) of
        N when N > 0 -> whole(N);
        _ -> "-"
    end.

cpu(Key, Turns) -> io_lib:format("~.1f", [bench_stats:median(bench_stats:values(Key, Turns)) * 1.0]).

ratio(Turns, First) ->
    Ratios = bench_stats:ratios(Turns, First),
    [two_digits(bench_stats:median(Ratios)), " ", range(fun two_digits/1, Ratios)].

range(Format, Values) -> ["(", Format(lists:min(Values)), "..", Format(lists:max(Values)), ")"].

whole(Number) -> integer_to_list(round(Number)).

two_digits(Number) -> io_lib:format("~.2f", [Number * 1.0]).

%% @doc What was wanted beside what has come out: told, never asserted.
-spec goals([bench_goals:verdict()]) -> iolist().
goals(Goals) ->
    Measured = [Goal || #{values := [_ | _]} = Goal <- Goals],
    [io_lib:format("~-96ts~12ts~10ts~n", ["Goals", "wanted", "measured"]),
     [goal(Goal) || Goal <- Measured],
     io_lib:format("  and ~b that this run has not measured: bench-all has them all~n", [length(Goals) - length(Measured)])].

goal(#{text := Text, limit := Limit, values := Values, reached := Reached}) ->
    io_lib:format("  ~-94ts~12ts~10ts  ~-8ts~ts~n",
                  [Text, limit(Limit), two_digits(bench_stats:median(Values)),
                   case Reached of true -> "reached"; false -> "missed" end,
                   case Values of [_] -> ""; _ -> range(fun two_digits/1, Values) end]).

limit({at_least, Number}) -> [">= ", two_digits(Number)];
limit({at_most, Number}) -> ["<= ", two_digits(Number)].

%% @doc What it is measured on, and how busy it is with other things: to be asked before it is busy with us.
-spec machine() -> map().
machine() ->
    {ok, Load} = file:read_file("/proc/loadavg"),
    #{load => hd(binary:split(Load, <<" ">>)),
      cpu => cpu_name(file:read_file("/proc/cpuinfo")),
      cores => erlang:system_info(logical_processors_available),
      memory_gib => memory(file:read_file("/proc/meminfo")),
      kernel => string:trim(os:cmd("uname -r")),
      otp => erlang:system_info(otp_release),
      erl_flags => os:getenv("BENCH_ERL_FLAGS", "")}.

cpu_name({ok, Text}) ->
    case re:run(Text, "model name\\s*: (.*)", [{capture, all_but_first, list}]) of
        {match, [Name]} -> Name;
        nomatch -> "unknown processor"
    end;
cpu_name({error, _}) -> "unknown processor".

memory({ok, Text}) ->
    {match, [KiB]} = re:run(Text, "MemTotal: *(\\d+)", [{capture, all_but_first, list}]),
    round(list_to_integer(KiB) / 1048576).

%% @doc Everything, every single round too, as maps and lists.
-spec data(map(), [{string(), [bench_stats:result()]}], [bench_extra:finding()], [bench_goals:verdict()]) -> map().
data(#{machine := Machine} = Options, Tables, Extra, Goals) ->
    #{machine => maps:map(fun(_, Value) -> text(Value) end, Machine),
      options => maps:with([rounds, ms, set], Options),
      extra => [#{name => Name, text => text(Text), value => Value} || {Name, Text, Value} <- Extra],
      goals => [#{text => text(Text), limit => text(limit(Limit)), values => Values, reached => Reached}
                || #{text := Text, limit := Limit, values := Values, reached := Reached} <- Goals],
      tables => [#{title => text(Title), blocks => [block(Result) || Result <- Results]} || {Title, Results} <- Tables]}.

block({{Kind, InFlight, Size} = Work, [{First, _} | _] = Rows}) ->
    #{kind => Kind, in_flight => InFlight, size => Size, title => text([work(Work), workers(First)]), unit => text(unit(Work)),
      rows => [maps:merge(columns(Turns), #{name => maps:get(name, Row), server => maps:get(worker, Row), transport => maps:get(transport, Row),
                                                workers => maps:get(workers, Row), label => text(label(Row))})
               || {Row, Turns} <- Rows]}.

columns(Turns) -> maps:from_list([{Key, bench_stats:values(Key, Turns)} || Key <- [rate, p50, p99, client, beam, worker]]).

text(Value) when is_list(Value) -> unicode:characters_to_binary(Value);
text(Value) -> Value.
