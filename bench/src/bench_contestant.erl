%% One contestant: a process that owns its port and runs work when told. Every contestant is a module of this behaviour.
%% It lives in this VM, or in one of its own when that is to have other flags.
-module(bench_contestant).

-export([start/2, run/3, os_pids/1, stop/1, result/3, data/1]).
-export([begin_here/2, ask/2]).

-export_type([work/0, result/0, setup/0, contestant/0]).

-type work() :: {unary, InFlight :: pos_integer(), Size :: non_neg_integer()}
              | {stream, Streams :: pos_integer(), Size :: non_neg_integer()}.
-type setup() :: #{name := atom(), targets := [string()], programs := file:filename(), snakemux := file:filename(),
                   worker => bench_worker:kind(), workers => pos_integer(), flags => string(), arguments => [string()]}.
-type result() :: #{done := non_neg_integer(), seconds := float(), p50 := number(), p99 := number()}.
-opaque contestant() :: {here | pid(), pid()}.

-callback start(setup()) -> State :: term().
%% The processes whose CPU time is the contestant's own, beside the BEAM.
-callback os_pids(State :: term()) -> [pos_integer()].
%% The workers that it has started itself.
-callback worker_os_pids(State :: term()) -> [pos_integer()].
-callback run(State :: term(), work(), Ms :: pos_integer()) -> result().
-callback stop(State :: term()) -> ok.
-optional_callbacks([worker_os_pids/1]).

-spec start(module(), setup()) -> contestant().
start(Module, #{flags := [_ | _] = Flags} = Setup) ->
    Paths = lists:append([["-pa", filename:dirname(code:which(M))] || M <- [?MODULE, snakemux]]),
    {ok, Peer, _} = peer:start_link(#{connection => standard_io, args => string:lexemes(Flags, " ") ++ Paths}),
    {Peer, peer:call(Peer, ?MODULE, begin_here, [Module, Setup], infinity)};
start(Module, Setup) ->
    {here, begin_here(Module, Setup)}.

%% @private Started without a link in a VM of its own: the process that asks for it there ends at once.
-spec begin_here(module(), setup()) -> pid().
begin_here(Module, Setup) ->
    Self = self(),
    {Pid, Monitor} = spawn_monitor(fun() ->
        State = Module:start(Setup),
        Self ! {self(), started},
        loop(Module, State)
    end),
    receive
        {Pid, started} -> erlang:demonitor(Monitor, [flush]), Pid;
        {'DOWN', Monitor, process, Pid, Reason} -> error({Module, Reason})
    end.

-spec run(contestant(), work(), pos_integer()) -> result().
run(Contestant, Work, Ms) -> call(Contestant, {run, Work, Ms}).

%% @doc Its own processes, its VM, and the workers that are its own.
-spec os_pids(contestant()) -> #{client := [pos_integer()], beam := [string()], worker := [pos_integer()]}.
os_pids(Contestant) -> call(Contestant, os_pids).

-spec stop(contestant()) -> ok.
stop({here, _} = Contestant) ->
    call(Contestant, stop);
stop({Peer, _} = Contestant) ->
    ok = call(Contestant, stop),
    peer:stop(Peer).

call({here, Pid}, Request) -> ask(Pid, Request);
call({Peer, Pid}, Request) -> peer:call(Peer, ?MODULE, ask, [Pid, Request], infinity).

%% @private
-spec ask(pid(), term()) -> term().
ask(Pid, Request) ->
    Monitor = erlang:monitor(process, Pid),
    Pid ! {self(), Request},
    receive
        {Pid, Answer} -> erlang:demonitor(Monitor, [flush]), Answer;
        {'DOWN', Monitor, process, Pid, Reason} -> error({contestant, Reason})
    end.

loop(Module, State) ->
    receive
        {From, {run, Work, Ms}} ->
            From ! {self(), Module:run(State, Work, Ms)},
            erlang:garbage_collect(),
            loop(Module, State);
        {From, os_pids} ->
            Workers = case erlang:function_exported(Module, worker_os_pids, 1) of
                true -> Module:worker_os_pids(State);
                false -> []
            end,
            From ! {self(), #{client => Module:os_pids(State), beam => [os:getpid()], worker => Workers}},
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
