%% One instance, in the user's supervision tree:
%%
%%   snakemux_sup Name (one_for_one)
%%   ├── snakemux_worker_sup (simple_one_for_one)    stops second: TERM to all, then KILL
%%   │   ├── snakemux_worker py-0 ── port ── snakemux exec -- python …
%%   │   └── snakemux_worker py-1 ── port ── snakemux exec -- python …
%%   └── snakemux_mux ── port ── snakemux            stops first: drains the calls
%%
%% Workers do not depend on the mux: the port program may die and come back while they keep running. What both must
%% know of each other lives in the instance's table, which belongs to this supervisor and outlives them.
-module(snakemux_sup).
-behaviour(supervisor).

-export([start_link/1]).
-export([init/1, start_mux/2]).

%% @doc Starts an instance. The options are those that snakemux_options:instance/1 returned.
-spec start_link(snakemux_options:instance()) -> {ok, pid()} | {error, term()}.
start_link(#{name := Name} = Options) ->
    supervisor:start_link({local, Name}, ?MODULE, Options).

%% @private
init(#{name := Name, drain_timeout := Drain} = Options) ->
    Table = snakemux_table:new(Name, maps:with([program, max_message], Options)),
    snakemux_dir:sweep(),
    Children = [
        #{
            id => workers,
            start => {snakemux_worker_sup, start_link, [Options]},
            type => supervisor,
            shutdown => infinity
        },
        #{id => mux, start => {?MODULE, start_mux, [Options, Table]}, shutdown => Drain + 2000}
    ],
    {ok, {#{strategy => one_for_one, intensity => 10, period => 10}, Children}}.

%% @private
%% Runs in the supervisor, which owns the table: the mux inherits it, so that even when the supervisor is killed
%% it can still tell every waiting caller.
-spec start_mux(snakemux_options:instance(), snakemux_table:table()) -> {ok, pid()}.
start_mux(Options, Table) ->
    {ok, Mux} = snakemux_mux:start_link(Options),
    true = snakemux_table:inherit(Table, Mux),
    {ok, Mux}.
