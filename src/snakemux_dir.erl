%% Where workers listen: sockets in directories with mode 0700 and names that can't be guessed, or free ports.
-module(snakemux_dir).

-export([place/1, delete/1, delete_of/1, sweep/0]).

%% @doc A place for the next process of a worker: the target to connect to, what fills {port}, {address}, {id} and
%% {index}, and the directory to delete when it has ended. A port is only for those that know nothing but port numbers.
-spec place(snakemux_spec:worker()) -> {binary(), #{string() => string()}, file:filename() | undefined}.
place(#{argv := Argv, id := Id, index := Index} = Worker) ->
    Common = #{"{id}" => unicode:characters_to_list(Id), "{index}" => integer_to_list(Index)},
    case lists:any(fun(A) -> string:find(A, "{port}") =/= nomatch end, Argv) of
        true ->
            Number = integer_to_list(case Worker of #{port := Port} -> Port; #{} -> free_port() end),
            Address = "127.0.0.1:" ++ Number,
            {list_to_binary("ipv4:" ++ Address), Common#{"{port}" => Number, "{address}" => Address}, undefined};
        false ->
            Dir = new(),
            Socket = "unix:" ++ filename:join(Dir, "w"),
            {unicode:characters_to_binary(Socket), Common#{"{address}" => Socket}, Dir}
    end.

%% Its name tells whose it is, so that others know when it is left over: the BEAM's process id, and the namespace where
%% that counts, for /tmp may be shared by several.
new() ->
    Secret = binary_to_list(binary:encode_hex(rand:bytes(8))),
    Dir = filename:join(base(), lists:concat([prefix(), namespace(), "-", os:getpid(), "-", Secret])),
    ok = file:make_dir(Dir),
    ok = file:change_mode(Dir, 8#700),
    Dir.

-spec delete(file:filename()) -> ok.
delete(Dir) ->
    _ = file:del_dir_r(Dir),
    ok.

%% @doc Deletes the one of a target that place/1 returned.
-spec delete_of(binary()) -> ok.
delete_of(<<"unix:", Socket/binary>>) -> delete(filename:dirname(Socket));
delete_of(_) -> ok.

%% @doc Deletes those that a killed BEAM has left.
-spec sweep() -> ok.
sweep() ->
    Dirs = filelib:wildcard(prefix() ++ "*", base()),
    [delete(filename:join(base(), Dir)) || Dir <- Dirs, is_left_over(string:split(Dir, "-", all))],
    ok.

is_left_over([_, Namespace, Pid, _]) ->
    Namespace =:= namespace() andalso filelib:is_dir("/proc/self") andalso not filelib:is_dir("/proc/" ++ Pid);
is_left_over(_) ->
    false.

namespace() ->
    case file:read_link("/proc/self/ns/pid") of
        {ok, Link} -> [C || C <- Link, C >= $0, C =< $9];
        _ -> "0"
    end.

prefix() -> "snakemux-".

%% A socket's path has at most 107 bytes: only a short one will do.
base() ->
    case os:getenv("XDG_RUNTIME_DIR") of
        Dir when is_list(Dir), Dir =/= "", length(Dir) < 50 -> Dir;
        _ -> "/tmp"
    end.

%% A TCP port of the loopback interface that nobody listens on now.
free_port() ->
    {ok, Socket} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Socket),
    ok = gen_tcp:close(Socket),
    Port.
