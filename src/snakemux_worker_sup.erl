%% The workers of an instance, one process each. simple_one_for_one: they all stop at the same time.
-module(snakemux_worker_sup).
-behaviour(supervisor).

-export([start_link/1, add/2]).
-export([init/1]).

%% A worker has 5 s to end after SIGTERM, and its guardian a moment more.
-define(SHUTDOWN, 8000).

-spec start_link(snakemux_options:instance()) -> {ok, pid()} | {error, term()}.
start_link(#{name := Name, workers := Workers}) ->
    {ok, Sup} = supervisor:start_link(?MODULE, Name),
    lists:foreach(fun(Worker) -> {ok, _} = add(Sup, Worker) end, Workers),
    {ok, Sup}.

%% @doc Starts one more. `already_exists' when its id is taken.
-spec add(pid(), snakemux_spec:worker()) -> {ok, pid()} | {error, already_exists}.
add(Sup, Worker) ->
    case supervisor:start_child(Sup, [Worker]) of
        {ok, Pid} -> {ok, Pid};
        {error, {shutdown, already_exists}} -> {error, already_exists}
    end.

%% @private
init(Name) ->
    {ok, Table} = snakemux_table:find(Name),
    snakemux_table:put_process(Table, workers, self()),
    Worker = #{
        id => worker, start => {snakemux_worker, start_link, [Name]}, restart => transient, shutdown => ?SHUTDOWN
    },
    {ok, {#{strategy => simple_one_for_one, intensity => 10, period => 10}, [Worker]}}.
