%% Private places for the sockets of workers: directories with mode 0700 and names that can't be guessed.
-module(snakemux_dir).

-export([new/0, delete/1, sweep/0, free_port/0]).

%% @doc A new one. Its name holds the BEAM's process id, so that others know when it is left over.
-spec new() -> file:filename().
new() ->
    Dir = filename:join(base(), lists:concat([prefix(), os:getpid(), "-", binary_to_list(binary:encode_hex(rand:bytes(8)))])),
    ok = file:make_dir(Dir),
    ok = file:change_mode(Dir, 8#700),
    Dir.

-spec delete(file:filename()) -> ok.
delete(Dir) ->
    _ = file:del_dir_r(Dir),
    ok.

%% @doc Deletes those that a killed BEAM has left.
-spec sweep() -> ok.
sweep() ->
    Dirs = filelib:wildcard(prefix() ++ "*", base()),
    [delete(filename:join(base(), Dir)) || Dir <- Dirs, is_left_over(string:split(Dir, "-", all))],
    ok.

is_left_over([_, Pid, _]) -> not filelib:is_dir("/proc/" ++ Pid) andalso filelib:is_dir("/proc/self");
is_left_over(_) -> false.

prefix() -> "snakemux-".

%% A socket's path has at most 107 bytes: only a short one will do.
base() ->
    case os:getenv("XDG_RUNTIME_DIR") of
        Dir when is_list(Dir), Dir =/= "", length(Dir) < 50 -> Dir;
        _ -> "/tmp"
    end.

%% @doc A TCP port of the loopback interface that nobody listens on now.
-spec free_port() -> inet:port_number().
free_port() ->
    {ok, Socket} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Socket),
    ok = gen_tcp:close(Socket),
    Port.
