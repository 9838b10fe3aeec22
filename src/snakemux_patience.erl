%% How long the mux makes way for the callers that it answers. Who has been answered runs before the next one is: its next
%% call is here when all have been answered, and no run queue grows, for which other schedulers would wake. Where others
%% have more to do than to call again the mux would wait for its turn after each answer: it does so for a twentieth of
%% the time at most.
-module(snakemux_patience).

-export([new/0, renew/1, make_way/1, took_turn/0]).

-export_type([patience/0]).

%% What a caller has for taking its answer and calling again (us), and all of a frame together for whatever else there is.
-define(TURN, 20).
-define(GRACE, 50).
%% Having waited for longer it waits no more for so many times as long.
-define(HURRY, 20).

%% What OTP 25 counts towards waking another scheduler when the mux makes way: a tenth of a time slice, and what it has
%% executed, but as much again at least.
-define(SWITCH, 800).

%% Since when it may wait again, and until when it may in this frame, if at all (us).
-opaque patience() :: {integer(), integer() | none}.

-spec new() -> patience().
new() -> {now_us(), none}.

%% @doc Answers came.
-spec renew(patience()) -> patience().
renew({From, _} = Patience) ->
    case now_us() of
        Now when Now < From -> Patience;
        Now -> {From, Now + ?GRACE}
    end.

%% @doc The calling process has answered one: others run now, as long as it has patience.
-spec make_way(patience()) -> patience().
make_way({_, none} = Patience) ->
    Patience;
make_way({From, Until}) ->
    erlang:yield(),
    case now_us() of
        Now when Now > Until -> {Now + ?HURRY * (Now - Until), none};
        _ -> {From, Until + ?TURN}
    end.

%% @doc The calling process has been made way for. That counts 800 towards waking another scheduler at 40,000, as the mux
%% waits behind it; its own turn, behind which only the mux is left, takes off what it has executed, 400 at least
%% (`wakeup_other_check' in erl_process.c). So a hundred answers in a row would be enough, and it executes as much as was counted.
-spec took_turn() -> true.
took_turn() -> erlang:bump_reductions(?SWITCH).

now_us() -> erlang:monotonic_time(microsecond).
