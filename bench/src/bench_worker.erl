%% The workers that the contestants call: programs that print where they listen.
-module(bench_worker).

-export([start/1, has_native/0, target/1, os_pids/1, stop/1]).

-export_type([worker/0, kind/0]).

%% c: ours on the C core; threaded: a plain grpcio server; aio and native: the two servers of the Python library.
-type kind() :: c | threaded | aio | native.
-opaque worker() :: {port(), Target :: string(), Dir :: file:filename()}.

-spec start(#{transport := unix | tcp, worker := kind()}) -> worker().
start(#{transport := Transport, worker := Kind}) ->
    Dir = string:trim(os:cmd("mktemp -d")),
    Address = case Transport of
        unix -> "unix:" ++ filename:join(Dir, "worker");
        tcp -> "127.0.0.1:0"
    end,
    Args = ["exec", "--"] ++ command(Kind) ++ ["--address", Address],
    Guardian = os:getenv("SNAKEMUX_PROGRAM"),
    Port = open_port({spawn_executable, Guardian},
                     [{args, Args}, {line, 1024}, exit_status, stderr_to_stdout, {env, [{"SNAKEMUX_SERVER", atom_to_list(Kind)}]}]),
    {Port, target(Transport, Address, listening(Port)), Dir}.

command(c) -> [filename:join(os:getenv("BENCH_PROGRAMS"), "worker")];
command(threaded) -> python("threaded.py");
command(_) -> python("worker.py").

python(Script) -> [os:getenv("SNAKEMUX_PYTHON", "python3"), filename:join(os:getenv("BENCH_PYTHON_WORKERS"), Script)].

listening(Port) ->
    receive
        {Port, {data, {eol, "GRPC_SERVER_READY_ON_" ++ Where}}} ->
            [_, Value] = string:split(Where, "="),
            Value;
        {Port, {data, {_, Line}}} ->
            io:format(standard_error, "worker: ~ts~n", [Line]),
            listening(Port);
        {Port, {exit_status, Status}} -> error({worker, Status})
    after 20000 -> error({worker, silent})
    end.

target(unix, Address, _) -> Address;
target(tcp, _, Number) -> "ipv4:127.0.0.1:" ++ Number.

-spec target(worker()) -> string().
target({_, Target, _}) -> Target.

%% @doc Whether the Python library has its native server here: it ends at once without, or says that another one runs.
-spec has_native() -> boolean().
has_native() ->
    try start(#{transport => unix, worker => native}) of
        Worker ->
            Server = server(Worker),
            stop(Worker),
            Server =:= <<"native">>
    catch
        error:{worker, Status} when is_integer(Status) -> false
    end.

server({_, Target, _}) ->
    Port = bench_hand:start(#{targets => [Target], snakemux => os:getenv("SNAKEMUX_PROGRAM")}),
    bench_hand:send(Port, {info, info, list_to_binary(Target), #{timeout => 5000}}),
    [{ok, info, #{capabilities := Capabilities}, _}] = bench_hand:events(Port),
    bench_hand:stop(Port),
    maps:get(<<"server">>, Capabilities, unknown).

%% The worker is the only child of the only child of its guardian.
-spec os_pids(worker()) -> [pos_integer()].
os_pids({Port, _, _}) ->
    {os_pid, Guardian} = erlang:port_info(Port, os_pid),
    [Inner] = bench_cpu:children(Guardian),
    bench_cpu:children(Inner).

%% Its guardian sees the end of its stdin.
-spec stop(worker()) -> ok.
stop({Port, _, Dir}) ->
    true = port_close(Port),
    _ = file:del_dir_r(Dir),
    ok.
