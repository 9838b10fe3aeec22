%% One contestant: a process that owns its port and runs work when told. Every contestant is a module of this behaviour.
-module(bench_contestant).

-export([start/2, run/3, os_pids/1, stop/1, result/3, data/1]).

-export_type([work/0, result/0, setup/0]).

-type work() :: {unary, InFlight :: pos_integer(), Size :: non_neg_integer()}
              | {stream, Streams :: pos_integer(), Size :: non_neg_integer()}.
-type setup() :: #{targets := [string()], programs := file:filename(), snakemux := file:filename(),
                   arguments => [string()]}.
-type result() :: #{done := non_neg_integer(), seconds := float(), p50 := number(), p99 := number()}.

-callback start(setup()) -> State :: term().
%% The processes whose CPU time is the contestant's own, beside the BEAM.
-callback os_pids(State :: term()) -> [pos_integer()].
-callback run(State :: term(), work(), Ms :: pos_integer()) -> result().
-callback stop(State :: term()) -> ok.

-spec start(module(), setup()) -> pid().
start(Module, Setup) ->
    Self = self(),
    Pid = spawn_link(fun() ->
        State = Module:start(Setup),
        Self ! {self(), started},
        loop(Module, State)
    end),
    receive {Pid, started} -> Pid end.

-spec run(pid(), work(), pos_integer()) -> result().
run(Pid, Work, Ms) -> ask(Pid, {run, Work, Ms}).

-spec os_pids(pid()) -> [pos_integer()].
os_pids(Pid) -> ask(Pid, os_pids).

-spec stop(pid()) -> ok.
stop(Pid) -> ask(Pid, stop).

ask(Pid, Request) ->
    Pid ! {self(), Request},
    receive {Pid, Answer} -> Answer end.

loop(Module, State) ->
    receive
        {From, {run, Work, Ms}} ->
            From ! {self(), Module:run(State, Work, Ms)},
            erlang:garbage_collect(),
            loop(Module, State);
        {From, os_pids} ->
            From ! {self(), Module:os_pids(State)},
            loop(Module, State);
        {From, stop} ->
            ok = Module:stop(State),
            From ! {self(), ok}
    end.

%% @doc What is echoed: a JSON string of so many bytes, so that workers of every kind can read it.
-spec data(pos_integer()) -> binary().
data(Size) -> <<$", (binary:copy(<<"x">>, max(0, Size - 2)))/binary, $">>.

%% @doc A result from all latencies in microseconds.
-spec result(non_neg_integer(), float(), [integer()]) -> result().
result(Done, Seconds, Latencies) ->
    Sorted = list_to_tuple(lists:sort(Latencies)),
    #{done => Done, seconds => Seconds, p50 => at(Sorted, 0.5), p99 => at(Sorted, 0.99)}.

at({}, _) -> 0;
at(Sorted, Share) -> element(1 + round(Share * (tuple_size(Sorted) - 1)), Sorted).
