%% The pool of the old pipes, as much of it as a fair comparison needs: one process owns the ports of old workers, each of
%% which takes one request at a time, and callers wait for an idle one. Frames are whole: it neither packs nor reads them.
-module(bench_pool).
-behaviour(gen_server).

-export([start_link/3, call/2, os_pids/1, stop/1, old_worker/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-spec start_link(file:filename(), [string()], pos_integer()) -> {ok, pid()}.
start_link(Program, Args, Count) -> gen_server:start_link(?MODULE, {Program, Args, Count}, []).

%% @doc The frame of the answer.
-spec call(pid(), iodata()) -> binary().
call(Pool, Frame) -> gen_server:call(Pool, {call, Frame}, infinity).

%% @doc The workers.
-spec os_pids(pid()) -> [pos_integer()].
os_pids(Pool) -> gen_server:call(Pool, os_pids).

-spec stop(pid()) -> ok.
stop(Pool) -> gen_server:stop(Pool).

%% @doc The old worker: program and arguments.
-spec old_worker() -> {string(), [string()]}.
old_worker() -> {os:getenv("SNAKEMUX_PYTHON", "python3"), [os:getenv("BENCH_OLD_WORKER")]}.

init({Program, Args, Count}) ->
    Ports = [open_port({spawn_executable, Program}, [binary, {packet, 4}, {args, Args}]) || _ <- lists:seq(1, Count)],
    [port_command(Port, <<"{\"args\":{\"initialization\":true},\"command\":\"ping\",\"id\":1}">>) || Port <- Ports],
    [receive {Port, {data, _}} -> ok end || Port <- Ports],
    {ok, {Ports, queue:new(), #{}}}.

handle_call({call, Frame}, From, {[Port | Idle], Waiting, Calls}) ->
    port_command(Port, Frame),
    {noreply, {Idle, Waiting, Calls#{Port => From}}};
handle_call({call, Frame}, From, {[], Waiting, Calls}) ->
    {noreply, {[], queue:in({Frame, From}, Waiting), Calls}};
handle_call(os_pids, _, {Idle, _, Calls} = State) ->
    {reply, [Pid || Port <- Idle ++ maps:keys(Calls), {os_pid, Pid} <- [erlang:port_info(Port, os_pid)]], State}.

handle_cast(_, State) -> {noreply, State}.

handle_info({Port, {data, Answer}}, {Idle, Waiting, Calls}) ->
    gen_server:reply(maps:get(Port, Calls), Answer),
    case queue:out(Waiting) of
        {{value, {Frame, From}}, Left} ->
            port_command(Port, Frame),
            {noreply, {Idle, Left, Calls#{Port := From}}};
        {empty, _} ->
            {noreply, {[Port | Idle], Waiting, maps:remove(Port, Calls)}}
    end.
