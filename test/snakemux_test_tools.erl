%% What tests need of the repository: where it is, the programs of it, PropEr for EUnit.
-module(snakemux_test_tools).

-export([root/0, program/0, codec_port/0, open/1, check/2]).

%% The repository, wherever this module was compiled to: rebar3 links our directories into its build, but not that one.
root() -> root(filename:dirname(filename:absname(code:which(?MODULE)))).

root(Directory) ->
    case filelib:is_dir(filename:join(Directory, "scripts")) of
        true -> Directory;
        false -> root(filename:dirname(Directory))
    end.

%% The port program: the one of SNAKEMUX_PROGRAM, else of the build.
program() -> os:getenv("SNAKEMUX_PROGRAM", filename:join([root(), "priv", "snakemux"])).

%% The codecs as a filter; see test/c/codec_port.c.
codec_port() ->
    Directory = filename:join([root(), "test", "c"]),
    "" = os:cmd("make -s --no-print-directory -C " ++ Directory ++ " codec_port"),
    filename:join([root(), "_build", "test-c", "codec_port"]).

open(Program) -> erlang:open_port({spawn_executable, Program}, [binary, exit_status, {packet, 4}]).

%% Whether the property holds, with its counterexample on the console when it does not.
check(Property, Count) ->
    proper:quickcheck(Property, [{numtests, Count}, {max_size, 20}, {on_output, fun output/2}]).

output(".", _) -> ok;
output("~nOK: " ++ _, _) -> ok;
output(Format, Arguments) -> io:format(user, Format, Arguments).
