%% The workers of an instance, one process each.
-module(snakemux_worker_sup).
-behaviour(supervisor).

-export([start_link/1, add/3, remove/3]).
-export([init/1]).

-define(STOP, 5000).

-spec start_link(snakemux_options:instance()) -> {ok, pid()} | {error, term()}.
start_link(#{name := Name, workers := Workers}) ->
    {ok, Sup} = supervisor:start_link(?MODULE, []),
    [{ok, _} = add(Sup, Name, Worker) || Worker <- Workers],
    {ok, Sup}.

%% @doc Starts one more.
-spec add(pid(), atom(), snakemux_spec:worker()) -> {ok, pid()} | {error, term()}.
add(Sup, Name, #{id := Id} = Worker) ->
    supervisor:start_child(Sup, #{
        id => Id, start => {snakemux_worker, start_link, [Name, Worker]}, shutdown => ?STOP + 2000
    }).

%% @doc Ends one: its connection at once or drained, then its process.
-spec remove(pid(), snakemux_proto:worker_id(), now | {drain, non_neg_integer()}) -> ok | {error, not_found}.
remove(Sup, Id, How) ->
    case [Pid || {Child, Pid, _, _} <- supervisor:which_children(Sup), Child =:= Id, is_pid(Pid)] of
        [Pid] ->
            snakemux_worker:drain(Pid, How),
            _ = supervisor:terminate_child(Sup, Id),
            supervisor:delete_child(Sup, Id);
        [] ->
            {error, not_found}
    end.

%% @private
init([]) ->
    {ok, {#{strategy => one_for_one, intensity => 10, period => 10}, []}}.
