%% An instance in an application of its own, as users have it: the BEAM stops it when it is told to end.
-module(mux_application).
-behaviour(application).

-export([run/1, start/2, stop/1]).

run(Options) ->
    ok = application:load({application, ?MODULE, [{vsn, "1"}, {applications, [kernel, stdlib]}, {mod, {?MODULE, Options}}]}),
    application:start(?MODULE).

start(_, Options) -> snakemux:start_link(Options).

stop(_) -> ok.
