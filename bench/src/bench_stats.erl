%% Medians, and ratios between contestants: round by round, because a noisy minute hits both.
-module(bench_stats).

-export([median/1, values/2, scaled/2, ratios/2]).

-export_type([turn/0, result/0]).

-type turn() :: #{rate := float(), p50 := number(), p99 := number(), client := float(), beam := float(), worker := float(),
                  atom() => term()}.
-type result() :: {bench_contestant:work(), [{bench_plan:row(), [turn()]}]}.

-spec median([number(), ...]) -> number().
median(Values) ->
    Sorted = lists:sort(Values),
    Half = length(Sorted) div 2,
    case length(Sorted) rem 2 of
        1 -> lists:nth(Half + 1, Sorted);
        0 -> (lists:nth(Half, Sorted) + lists:nth(Half + 1, Sorted)) / 2
    end.

-spec values(atom(), [turn()]) -> [number()].
values(Key, Turns) -> [maps:get(Key, Turn) || Turn <- Turns].

%% @doc Rates in the unit in which they are told: large chunks in MB/s.
-spec scaled(bench_contestant:work(), [turn()]) -> [number()].
scaled({stream, _, Size}, Turns) when Size >= 4096 -> [Rate * Size / 1.0e6 || Rate <- values(rate, Turns)];
scaled(_, Turns) -> values(rate, Turns).

%% @doc Of the rates, round by round.
-spec ratios([turn()], [turn()]) -> [float()].
ratios(Turns, Others) ->
    lists:zipwith(fun(#{rate := A}, #{rate := B}) -> A / max(1.0, B) end, Turns, Others).
