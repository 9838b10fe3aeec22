%% docs/OPERATIONS.md names the tests that prove each of its rows: there are such tests, and they run.
-module(operations_tests).
-include_lib("eunit/include/eunit.hrl").

rows_test_() ->
    Rows = rows(),
    [
        ?_assert(length(Rows) > 80),
        [{Row, ?_assertNotEqual([], names(Row))} || Row <- Rows],
        {timeout, 20, [{iolist_to_binary([Suite, $:, Name]), ?_assert(is_test(Suite, Name))} || Row <- Rows, {Suite, Name} <- names(Row)]}
    ].

%% The last cell of each row of the tables whose last column is the tests.
rows() ->
    {ok, Text} = file:read_file(filename:join([snakemux_test_tools:root(), "docs", "OPERATIONS.md"])),
    {_, Rows} = lists:foldl(fun row/2, {none, []}, string:split(Text, "\n", all)),
    Rows.

row(<<"|---", _/binary>>, Seen) -> Seen;
row(<<"|", _/binary>> = Line, {Table, Rows}) ->
    Last = string:trim(lists:last(string:split(string:trim(Line, trailing, "| "), "|", all))),
    case Table of
        none when Last =:= <<"test">> -> {tests, Rows};
        none -> {other, Rows};
        tests -> {tests, [Last | Rows]};
        other -> {other, Rows}
    end;
row(_, {_, Rows}) -> {none, Rows}.

%% "suite: case, case; suite: case"
names(Row) ->
    [
        {Suite, string:trim(Name)}
     || Group <- string:split(Row, ";", all), [Suite0, Names] <- [string:split(Group, ": ")], Suite <- [string:trim(Suite0)],
        Name <- string:split(Names, ",", all)
    ].

is_test(Suite, Name) ->
    case filename:extension(Suite) of
        <<".py">> -> is_in_python(Suite, Name);
        <<>> -> is_in_erlang(binary_to_atom(Suite), binary_to_atom(Name))
    end.

is_in_python(File, Name) ->
    Paths = [filename:join([snakemux_test_tools:root() | Dir] ++ [File]) || Dir <- [["python", "tests"], ["test", "legacy"]]],
    [Text] = [Text || Path <- Paths, {ok, Text} <- [file:read_file(Path)]],
    string:find(Text, [<<"\ndef ">>, Name, <<"(">>]) =/= nomatch.

%% A case of a suite is in all/0 as well, not only there.
is_in_erlang(Suite, Case) ->
    {module, Suite} = code:ensure_loaded(Suite),
    case erlang:function_exported(Suite, all, 0) of
        true -> erlang:function_exported(Suite, Case, 1) andalso lists:member(Case, Suite:all());
        false -> erlang:function_exported(Suite, Case, 0)
    end.
