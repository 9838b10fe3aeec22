%% What has happened, in one ETS table that all processes of the soak write to: counters, times, violations, and when
%% the port program was stopped. Knows nothing of calls.
-module(soak_book).

-export([new/0, count/1, total/1, rows/1, took/2, percentile/2, longest/2, longest/1, violation/2, violations/0]).
-export([stopped/2, was_stopped/2]).

%% Times are kept in buckets that are 5 % wide.
-define(WIDTH, 1.05).

-spec new() -> ok.
new() ->
    ?MODULE = ets:new(?MODULE, [named_table, public, ordered_set, {write_concurrency, true}]),
    ok.

-spec count(tuple()) -> integer().
count(Key) -> ets:update_counter(?MODULE, {count, Key}, 1, {{count, Key}, 0}).

-spec total(Pattern :: tuple()) -> non_neg_integer().
total(Pattern) -> lists:sum([N || {_, N} <- rows(Pattern)]).

%% @doc The counters whose keys match, '_' for anything.
-spec rows(Pattern :: tuple()) -> [{tuple(), integer()}].
rows(Pattern) -> [{Key, N} || {{count, Key}, N} <- ets:match_object(?MODULE, {{count, Pattern}, '_'})].

-spec took(atom() | binary(), Milliseconds :: non_neg_integer()) -> integer().
took(What, Ms) -> count({took, What, trunc(math:log(max(1, Ms)) / math:log(?WIDTH))}).

%% @doc In milliseconds, within the width of a bucket; `What' may be '_'.
-spec percentile(atom() | binary(), float()) -> non_neg_integer().
percentile(What, Share) ->
    Buckets = lists:sort([{Bucket, N} || {{took, _, Bucket}, N} <- rows({took, What, '_'})]),
    percentile(Buckets, Share * lists:sum([N || {_, N} <- Buckets]), 0).

percentile([{Bucket, N} | More], Wanted, Last) when Wanted > N -> percentile(More, Wanted - N, max(Last, Bucket));
percentile([{Bucket, _} | _], _, _) -> round(math:pow(?WIDTH, Bucket));
percentile([], _, Last) -> round(math:pow(?WIDTH, Last)).

%% @doc Keeps the highest value of each kind; one row for each process, so that none is lost.
-spec longest(atom(), integer()) -> true.
longest(What, Value) ->
    Key = {longest, What, self()},
    ets:insert_new(?MODULE, {Key, Value}) orelse Value =< ets:lookup_element(?MODULE, Key, 2) orelse
        ets:insert(?MODULE, {Key, Value}).

-spec longest(atom()) -> integer().
longest(What) -> lists:max([0 | [Value || [Value] <- ets:match(?MODULE, {{longest, What, '_'}, '$1'})]]).

%% @doc Prints it at once: a long run need not be over before somebody looks.
-spec violation(io:format(), [term()]) -> ok.
violation(Format, Arguments) ->
    ets:insert(?MODULE, {{violation, erlang:unique_integer([monotonic])}}),
    io:format("~ts VIOLATION: " ++ Format ++ "~n",
              [calendar:system_time_to_rfc3339(erlang:system_time(second), [{offset, "Z"}]) | Arguments]).

-spec violations() -> non_neg_integer().
violations() -> length(ets:match(?MODULE, {{violation, '$1'}})).

%% @doc The port program stands still between these times.
-spec stopped(From :: integer(), To :: integer()) -> true.
stopped(From, To) -> ets:insert(?MODULE, {{stopped, From}, To}).

%% @doc Whether it stood still at some time between these.
-spec was_stopped(From :: integer(), To :: integer()) -> boolean().
was_stopped(From, To) ->
    ets:select(?MODULE, [{{{stopped, '$1'}, '$2'}, [{'=<', '$1', To}, {'>=', '$2', From}], [true]}], 1) =/= '$end_of_table'.
