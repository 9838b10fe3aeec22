%% The program `snakemux' as a process of the operating system: started, ended, and in words why there is none. It knows
%% neither the protocol nor the table of calls.
-module(snakemux_program).

-export([start/2, os_pid/1, close/1, kill/2, exit_text/3, version_text/3]).

%% @doc Starts the port program; the calling process owns the port.
-spec start(Program :: string(), Arguments :: [string()]) -> {ok, port()} | {error, Text :: iolist()}.
start(Program, Arguments) ->
    Options = [
        binary, exit_status, use_stdio, {packet, 4}, {args, ["port" | Arguments]}, {env, snakemux_env:with(all, tunables())}
    ],
    try
        {ok, open_port({spawn_executable, Program}, Options)}
    catch
        error:Reason -> {error, start_text(Program, Reason)}
    end.

%% Calls that run at the same time are freed and made by the hundred; as it comes glibc keeps seven blocks of a size at hand.
tunables() -> [{"GLIBC_TUNABLES", "glibc.malloc.tcache_count=100"} || os:getenv("GLIBC_TUNABLES") =:= false].

%% @doc The process behind a port, as long as there is one.
-spec os_pid(port() | undefined) -> pos_integer() | undefined.
os_pid(undefined) -> undefined;
os_pid(Port) ->
    case erlang:port_info(Port, os_pid) of
        {os_pid, Pid} -> Pid;
        undefined -> undefined
    end.

%% @doc Closes the port of this process; nothing of it comes afterwards. The program ends when it sees that.
-spec close(port()) -> ok.
close(Port) ->
    catch port_close(Port),
    receive {'EXIT', Port, _} -> ok after 0 -> ok end.

%% @doc SIGKILL, and done when this returns, after a second at the latest. There may be no kill(1): `Program' can do it too.
-spec kill(pos_integer() | undefined, Program :: string()) -> ok.
kill(undefined, _) -> ok;
kill(Pid, Program) ->
    {Command, Flag} = case os:find_executable("kill") of false -> {Program, "kill"}; Found -> {Found, "-KILL"} end,
    try open_port({spawn_executable, Command}, [{args, [Flag, integer_to_list(Pid)]}, exit_status, stderr_to_stdout]) of
        Port -> receive {Port, {exit_status, _}} -> ok; {'EXIT', Port, _} -> ok after 1000 -> ok end
    catch
        error:_ -> ok
    end.

start_text(Program, enoent) ->
    io_lib:format("~ts is not there: build it with make (or mix compile, rebar3 compile), or set the option program",
                  [Program]);
start_text(Program, eacces) ->
    io_lib:format("~ts may not be executed: chmod +x it", [Program]);
start_text(Program, Reason) ->
    io_lib:format("~ts can't be started: ~p", [Program, Reason]).

%% @doc Why the port program ended, which has said hello or not.
-spec exit_text(Status :: non_neg_integer(), SaidHello :: boolean(), Program :: string()) -> iolist().
exit_text(127, _, Program) ->
    io_lib:format("it ended at once with status 127: most likely a shared library is missing; ldd ~ts names it",
                  [Program]);
exit_text(Status, _, Program) when Status > 128 ->
    io_lib:format("~ts was ended by signal ~b", [Program, Status - 128]);
exit_text(Status, false, Program) ->
    io_lib:format("~ts ended with status ~b before it said hello: run it with --version to see why", [Program, Status]);
exit_text(Status, true, Program) ->
    io_lib:format("~ts ended with status ~b", [Program, Status]).

%% @doc What it said in its hello is not what this application speaks.
-spec version_text(Version :: term(), Info :: term(), Program :: string()) -> iolist().
version_text(Version, Info, Program) ->
    io_lib:format("~ts speaks version ~p of the protocol (~p), this application version ~b: build both from one source",
                  [Program, Version, Info, snakemux_proto:version()]).
