%% The worker that all contestants call: a program that prints where it listens.
-module(bench_worker).

-export([start/1, target/1, os_pids/1, stop/1]).

-export_type([worker/0]).

-opaque worker() :: {port(), Target :: string(), Dir :: file:filename()}.

-spec start(#{transport := unix | tcp, worker := native | python}) -> worker().
start(#{transport := Transport, worker := Kind}) ->
    Dir = string:trim(os:cmd("mktemp -d")),
    Address = case Transport of
        unix -> "unix:" ++ filename:join(Dir, "worker");
        tcp -> "127.0.0.1:0"
    end,
    Args = ["exec", "--"] ++ command(Kind) ++ ["--address", Address],
    Guardian = os:getenv("SNAKEMUX_PROGRAM"),
    Port = open_port({spawn_executable, Guardian}, [{args, Args}, {line, 1024}, exit_status, stderr_to_stdout]),
    {Port, target(Transport, Address, listening(Port)), Dir}.

command(native) -> [filename:join(os:getenv("BENCH_PROGRAMS"), "worker")];
command(python) -> [os:getenv("SNAKEMUX_PYTHON", "python3"), os:getenv("BENCH_PYTHON_WORKER")].

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
